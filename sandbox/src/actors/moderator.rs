//! What moderators do in Discord's own menus.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Member, Refused};
use crate::{moderation::By, problem::Problem, state::World};

impl Member {
    fn moderate(
        &self,
        reason: Option<&str>,
        act: impl FnOnce(&mut World, By<'_>) -> Result<(), Problem>,
    ) -> Result<(), Refused> {
        let by = By { guild: self.guild.id, actor: self.id, reason };
        let done = self.guild.discord.shared().change(|world| act(world, by));
        done.map_err(|problem| Refused(problem.body["message"].as_str().unwrap_or_default().into()))
    }

    /// Kicks a member.
    ///
    /// # Errors
    /// When this member may not, with Discord's message.
    pub fn kicks(&self, target: &Member, reason: Option<&str>) -> Result<(), Refused> {
        self.moderate(reason, |world, by| world.kick(by, target.id))
    }

    /// Bans someone, and deletes what they said in the time before.
    ///
    /// # Errors
    /// When this member may not, with Discord's message.
    pub fn bans(
        &self,
        target: &Member,
        reason: Option<&str>,
        delete: TimeDelta,
    ) -> Result<(), Refused> {
        self.moderate(reason, |world, by| world.ban(by, target.id, delete.num_seconds()))
    }

    /// Lifts a ban.
    ///
    /// # Errors
    /// When this member may not, or there is none, with Discord's message.
    pub fn unbans(&self, target: &Member, reason: Option<&str>) -> Result<(), Refused> {
        self.moderate(reason, |world, by| world.unban(by, target.id))
    }

    /// Times a member out until then, or ends the timeout.
    ///
    /// # Errors
    /// When this member may not, with Discord's message.
    pub fn times_out(
        &self,
        target: &Member,
        until: Option<DateTime<Utc>>,
        reason: Option<&str>,
    ) -> Result<(), Refused> {
        self.moderate(reason, |world, by| world.time_out(by, target.id, until))
    }

    /// Until when this member is timed out.
    #[must_use]
    pub fn timed_out_until(&self) -> Option<DateTime<Utc>> {
        self.guild.discord.shared().read(|world| {
            let member = world.guild(self.guild.id)?.members.get(&self.id)?;
            member.timeout_until.filter(|until| *until > world.now())
        })
    }
}
