// Watermill as an outbox relay: its Postgres subscriber, its JetStream publisher, and nothing of ours
// between them but the loop that its documentation shows. `cargo xtask bench peers` builds and runs it.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wmnats "github.com/ThreeDotsLabs/watermill-nats/v2/pkg/nats"
	wmsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/jackc/pgx/v5/pgxpool"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	lanes, err := strconv.Atoi(os.Getenv("LANES"))
	if err != nil {
		return fmt.Errorf("LANES: %w", err)
	}
	publisher, err := wmnats.NewPublisher(wmnats.PublisherConfig{
		URL:       os.Getenv("NATS_URL"),
		JetStream: wmnats.JetStreamConfig{AutoProvision: false},
	}, watermill.NopLogger{})
	if err != nil {
		return fmt.Errorf("NATS: %w", err)
	}
	subscriber, err := subscribe(ctx, lanes)
	if err != nil {
		return err
	}
	// One topic, so one table, a lane: a subscription hands out a message only after the one before it
	// was acknowledged.
	for lane := range lanes {
		messages, err := subscriber.Subscribe(ctx, fmt.Sprintf("events_%d", lane))
		if err != nil {
			return fmt.Errorf("lane %d: %w", lane, err)
		}
		go relay(messages, publisher)
	}
	return answer(ctx)
}

// subscribe makes the subscriber, which makes its tables where they are absent.
func subscribe(ctx context.Context, lanes int) (*wmsql.Subscriber, error) {
	batch, err := strconv.Atoi(os.Getenv("BATCH"))
	if err != nil {
		return nil, fmt.Errorf("BATCH: %w", err)
	}
	poll, err := time.ParseDuration(os.Getenv("POLL"))
	if err != nil {
		return nil, fmt.Errorf("POLL: %w", err)
	}
	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	config.MaxConns = int32(lanes) + 1
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("Postgres: %w", err)
	}
	// The queue: what was published is deleted, and no older transaction is waited for.
	settings := wmsql.SubscriberConfig{
		PollInterval:     poll,
		SchemaAdapter:    wmsql.PostgreSQLQueueSchema{SubscribeBatchSize: batch},
		OffsetsAdapter:   wmsql.PostgreSQLQueueOffsetsAdapter{DeleteOnAck: true},
		InitializeSchema: true,
	}
	logger := watermill.NewStdLogger(false, false)
	return wmsql.NewSubscriber(wmsql.BeginnerFromPgx(pool), settings, logger)
}

// relay publishes to the subject that the producer named, and acknowledges what the stream has.
func relay(messages <-chan *message.Message, publisher message.Publisher) {
	for m := range messages {
		if err := publisher.Publish(m.Metadata.Get("subject"), m); err != nil {
			log.Print(err)
			m.Nack()
			continue
		}
		m.Ack()
	}
}

// answer says on /readyz that the subscriptions stand, until the context ends.
func answer(ctx context.Context) error {
	server := &http.Server{Addr: os.Getenv("OPS_ADDR")}
	http.HandleFunc("/readyz", func(http.ResponseWriter, *http.Request) {})
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return fmt.Errorf("OPS_ADDR: %w", err)
	}
	return nil
}
