//! What a socket does with its client's requests, and with what comes of them.

use shared::ids::GameId;

use super::commands::{Done, Sent};
use super::end::End;
use super::inbound::{self, Inbound, Refused, Request, Topic};
use super::outbound::Outbound;
use super::session::Session;
use super::topics::{self, Step, TOPICS_MAX};
use crate::games::service::CommandRequest;
use crate::gateway::subscription::{Manner, Opened, Wanted};
use crate::mutants;
use crate::problem::{Problem, Reason};

/// The refusal of a message beyond the socket's rate, whatever it says.
pub(super) fn too_many() -> Problem {
    Problem::new(Reason::RateLimited, "too many messages on this socket")
}

impl Session {
    pub(super) async fn message(&mut self, text: &str) -> Result<(), End> {
        let limited = self.messages.check().is_err();
        let Inbound { reference, request } = match inbound::parse(text) {
            Ok(Inbound { reference, .. }) if limited => {
                return self.refuse(Some(&reference), &too_many()).await;
            }
            Ok(inbound) => inbound,
            Err(Refused { reference, problem }) => {
                let problem = if limited { too_many() } else { problem };
                return self.refuse(reference.as_deref(), &problem).await;
            }
        };
        match request {
            Request::Ping => Ok(self
                .writer
                .say(&Outbound::Pong {
                    reference: &reference,
                })
                .await?),
            Request::Unsubscribe { topic } => self.unsubscribe(&reference, topic).await,
            Request::Subscribe {
                topic,
                cursor,
                code,
            } => self.subscribe(reference, topic, cursor, code).await,
            Request::Command {
                game,
                command_id,
                at,
                action,
            } => {
                let request = CommandRequest {
                    command_id,
                    at,
                    action,
                };
                self.command(reference, game, request).await
            }
        }
    }

    async fn subscribe(
        &mut self,
        reference: String,
        topic: Topic,
        cursor: Option<String>,
        code: Option<String>,
    ) -> Result<(), End> {
        if self.topics.are_full() && !self.topics.contain(topic) {
            let detail = format!("a socket has at most {TOPICS_MAX} topics");
            let problem = Problem::new(Reason::RateLimited, detail);
            return self.refuse(Some(&reference), &problem).await;
        }
        let boards = self.app.gateway.boards();
        let reader = match (topic, self.player) {
            (Topic::Game(game), player) => {
                self.abandon(topic).await?;
                let wanted = Wanted {
                    game,
                    player,
                    code,
                    cursor,
                    manner: Manner::Present,
                };
                self.topics.open(&self.app.gateway, reference, wanted);
                return Ok(());
            }
            (Topic::Lobby, _) => boards.lobby(),
            (Topic::Me, Some(player)) => boards.of_player(player),
            (Topic::Me, None) => {
                let problem = Problem::from(Reason::Unauthorized);
                return self.refuse(Some(&reference), &problem).await;
            }
        };
        // A board has no cursors: it always begins with the whole.
        self.say_subscribed(&reference, topic, false).await?;
        self.topics.read(topic, reader);
        Ok(())
    }

    async fn say_subscribed(
        &mut self,
        reference: &str,
        topic: Topic,
        resumed: bool,
    ) -> Result<(), End> {
        let subscribed = Outbound::Subscribed {
            reference,
            topic: &topic.name(),
            resumed,
            now_ms: self.app.gateway.now_ms(),
        };
        Ok(self.writer.say(&subscribed).await?)
    }

    /// Gives up a subscription that has not opened, and says so under its name; says whether there
    /// was one.
    async fn abandon(&mut self, topic: Topic) -> Result<bool, End> {
        let Some(reference) = self.topics.abandon(topic) else {
            return Ok(false);
        };
        let detail = "a later request for the topic came before the subscription was open";
        let problem = Problem::new(Reason::Conflict, detail);
        self.refuse(Some(&reference), &problem).await?;
        Ok(true)
    }

    async fn unsubscribe(&mut self, reference: &str, topic: Topic) -> Result<(), End> {
        let abandoned = self.abandon(topic).await?;
        if self.topics.close(topic) || abandoned {
            let topic = &topic.name();
            return Ok(self
                .writer
                .say(&Outbound::Unsubscribed { reference, topic })
                .await?);
        }
        let problem = Problem::new(Reason::NotFound, "there is no such subscription");
        self.refuse(Some(reference), &problem).await
    }

    async fn command(
        &mut self,
        reference: String,
        game: GameId,
        request: CommandRequest,
    ) -> Result<(), End> {
        let player = self
            .player
            .ok_or_else(|| Problem::from(Reason::Unauthorized));
        let allowed = player.and_then(|player| {
            self.app.limits.command(player)?;
            Ok(player)
        });
        match allowed {
            Ok(player) => {
                self.commands.add(
                    &self.app.games,
                    Sent {
                        reference,
                        player,
                        game,
                        request,
                    },
                );
                Ok(())
            }
            Err(problem) => self.refuse(Some(&reference), &problem).await,
        }
    }

    pub(super) async fn step(&mut self, topic: Topic, step: Step) -> Result<(), End> {
        match step {
            Step::Frames(subscription, frames) => {
                self.writer.frames(&subscription, &frames).await?;
                self.topics.resume(topic, topics::next(subscription));
            }
            Step::Presence(subscription, text) => {
                self.writer.text("presence", text).await?;
                self.topics.resume(topic, topics::next(subscription));
            }
            Step::Posted(reader, kind, text) => {
                self.writer.text(kind.as_str(), text).await?;
                self.topics.resume(topic, topics::posted(reader));
            }
            Step::Opened(reference, Ok(opened)) => {
                let Opened {
                    subscription,
                    snapshot,
                } = *opened;
                self.say_subscribed(&reference, topic, snapshot.is_none())
                    .await?;
                if let Some(snapshot) = snapshot {
                    self.writer.frame(&snapshot, false).await?;
                }
                self.topics.opened(topic, Box::new(subscription));
            }
            Step::Opened(reference, Err(problem)) => {
                self.topics.abandon(topic);
                self.refuse(Some(&reference), &problem).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn answer(&mut self, done: Done) -> Result<(), End> {
        let Done {
            reference,
            result,
            trace_id,
            ..
        } = done;
        let accepted = match result {
            Ok(accepted) => accepted,
            Err(problem) => return self.refuse(Some(&reference), &problem).await,
        };
        let (logged, class) = (&accepted.logged, accepted.class);
        let n = logged.moment.numbers.of(class);
        let trace_id = mutants::trace_id(trace_id, &logged.moment.scene);
        let cursor = self.app.gateway.cursors().seal(logged.game, class, n);
        let ack = Outbound::Ack {
            reference: &reference,
            n,
            cursor: &cursor,
            duplicate: accepted.duplicate,
            trace_id: &trace_id,
        };
        Ok(self.writer.say(&ack).await?)
    }

    pub(super) async fn refuse(
        &mut self,
        reference: Option<&str>,
        problem: &Problem,
    ) -> Result<(), End> {
        self.app.gateway.rejected(problem.reason);
        Ok(self
            .writer
            .say(&Outbound::error(reference, problem))
            .await?)
    }
}
