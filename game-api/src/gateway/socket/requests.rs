//! What a socket does with its client's requests, and with what comes of them.

use shared::ids::GameId;

use super::commands::{Done, Sent};
use super::end::End;
use super::inbound::{self, Inbound, Refused, Request};
use super::outbound::Outbound;
use super::session::Session;
use super::topics::{Step, TOPICS_MAX};
use crate::games::service::CommandRequest;
use crate::gateway::frame;
use crate::gateway::subscription::{Manner, Opened, Subscription, Wanted};
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
            Request::Unsubscribe { game } => self.unsubscribe(&reference, game).await,
            Request::Subscribe { game, cursor, code } => {
                if self.topics.are_full() && !self.topics.contain(game) {
                    let detail = format!("a socket has at most {TOPICS_MAX} topics");
                    let problem = Problem::new(Reason::RateLimited, detail);
                    return self.refuse(Some(&reference), &problem).await;
                }
                self.abandon(game).await?;
                let (player, manner) = (self.player, Manner::Present);
                let wanted = Wanted {
                    game,
                    player,
                    code,
                    cursor,
                    manner,
                    stays: true,
                };
                self.topics.open(&self.app.gateway, reference, wanted);
                Ok(())
            }
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

    /// Gives up a subscription that has not opened, and says so under its name; says whether there
    /// was one.
    async fn abandon(&mut self, game: GameId) -> Result<bool, End> {
        let Some(reference) = self.topics.abandon(game) else {
            return Ok(false);
        };
        let detail = "a later request for the topic came before the subscription was open";
        let problem = Problem::new(Reason::Conflict, detail);
        self.refuse(Some(&reference), &problem).await?;
        Ok(true)
    }

    async fn unsubscribe(&mut self, reference: &str, game: GameId) -> Result<(), End> {
        let abandoned = self.abandon(game).await?;
        if self.topics.close(game) || abandoned {
            let topic = &frame::topic(game);
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

    pub(super) async fn step(&mut self, game: GameId, step: Step) -> Result<(), End> {
        match step {
            Step::Frames(subscription, frames) => {
                self.writer.frames(&subscription, &frames).await?;
                self.topics.resume(game, subscription);
                Ok(())
            }
            Step::Presence(subscription, text) => {
                self.writer.presence(text).await?;
                self.topics.resume(game, subscription);
                Ok(())
            }
            Step::Opened(reference, Ok(opened)) => {
                let Opened {
                    subscription,
                    snapshot,
                } = *opened;
                self.subscribed(&reference, game, subscription, snapshot)
                    .await
            }
            Step::Opened(reference, Err(problem)) => {
                self.topics.abandon(game);
                self.refuse(Some(&reference), &problem).await
            }
        }
    }

    async fn subscribed(
        &mut self,
        reference: &str,
        game: GameId,
        subscription: Subscription,
        snapshot: Option<frame::Frame>,
    ) -> Result<(), End> {
        let topic = &frame::topic(game);
        let (resumed, now_ms) = (snapshot.is_none(), self.app.gateway.now_ms());
        self.writer
            .say(&Outbound::Subscribed {
                reference,
                topic,
                resumed,
                now_ms,
            })
            .await?;
        if let Some(snapshot) = snapshot {
            self.writer.frame(&snapshot, false).await?;
        }
        self.topics.opened(game, Box::new(subscription));
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
