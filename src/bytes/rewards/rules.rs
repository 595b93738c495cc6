//! What a reward is and which roles can be one. Pure.

use poise::serenity_prelude::{Permissions, RoleId};

/// The most reward roles of a guild.
pub const MOST: usize = 25;

/// What makes a role a moderator's: bytes must not buy it.
const POWERS: Permissions = Permissions::ADMINISTRATOR
    .union(Permissions::MANAGE_GUILD)
    .union(Permissions::MANAGE_ROLES)
    .union(Permissions::MANAGE_CHANNELS)
    .union(Permissions::MANAGE_MESSAGES)
    .union(Permissions::MANAGE_WEBHOOKS)
    .union(Permissions::MANAGE_NICKNAMES)
    .union(Permissions::MANAGE_GUILD_EXPRESSIONS)
    .union(Permissions::MANAGE_EVENTS)
    .union(Permissions::MANAGE_THREADS)
    .union(Permissions::KICK_MEMBERS)
    .union(Permissions::BAN_MEMBERS)
    .union(Permissions::MODERATE_MEMBERS)
    .union(Permissions::MENTION_EVERYONE)
    .union(Permissions::VIEW_AUDIT_LOG)
    .union(Permissions::VIEW_GUILD_INSIGHTS)
    .union(Permissions::VIEW_CREATOR_MONETIZATION_ANALYTICS)
    .union(Permissions::MUTE_MEMBERS)
    .union(Permissions::DEAFEN_MEMBERS)
    .union(Permissions::MOVE_MEMBERS)
    .union(Permissions::PRIORITY_SPEAKER);

/// A role of a guild, as far as giving it is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its id.
    pub id: RoleId,
    /// Whether it's @everyone.
    pub is_everyone: bool,
    /// Whether it belongs to an integration: a bot's own, a booster's.
    pub managed: bool,
    /// Its place in the guild's list; 0 is @everyone.
    pub position: u16,
    /// What its members may do by it.
    pub permissions: Permissions,
}

impl Role {
    /// Whether it stands above another: of one place, the older one does.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        (self.position, std::cmp::Reverse(self.id)) > (other.position, std::cmp::Reverse(other.id))
    }
}

/// Why a reward can't be set up so. The text is shown to the manager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// @everyone.
    #[error("Everybody has @everyone. Pick another role, or make one in Server Settings, Roles.")]
    Everyone,
    /// An integration's role.
    #[error(
        "<@&{0}> belongs to a bot, to boosting or to another integration, which alone gives it. Pick or make another role."
    )]
    Managed(RoleId),
    /// A moderator's role.
    #[error(
        "<@&{role}> has {}, and bytes must not buy a moderator's powers. Switch that off in Server Settings, Roles, or pick another role.",
        powers.get_permission_names().join(", ")
    )]
    Powerful {
        /// The role.
        role: RoleId,
        /// What it has too much.
        powers: Permissions,
    },
    /// The bot may not manage roles.
    #[error(
        "I lack the Manage Roles permission and can't give <@&{0}>. Switch it on for my role in Server Settings, Roles, and try again."
    )]
    NoPermission(RoleId),
    /// The role stands above the bot's.
    #[error(
        "I can give only roles that stand below mine. Drag my role above <@&{0}> in Server Settings, Roles, and try again."
    )]
    AboveBot(RoleId),
    /// The role was deleted.
    #[error("The role {0} no longer exists. Remove it with `/economy reward remove`.")]
    Gone(RoleId),
    /// There are as many as can be.
    #[error(
        "A server has at most 25 reward roles. Remove one with `/economy reward remove` first."
    )]
    TooMany,
    /// It's no reward.
    #[error("That role is no reward here. Pick one from the list that `role` offers.")]
    NotAReward,
    /// Discord hasn't told what the guild is like.
    #[error("Discord hasn't shown me this server's roles yet. Try again in a minute.")]
    NotSeenYet,
}

/// Decides whether a role can be a reward: `bot` are the bot's own roles, @everyone among them.
///
/// # Errors
///
/// The first of: @everyone, an integration's, a moderator's, without Manage Roles, not below the
/// bot's highest role.
pub fn check_reward_role(role: &Role, bot: &[Role]) -> Result<(), Refusal> {
    if role.is_everyone {
        return Err(Refusal::Everyone);
    }
    if role.managed {
        return Err(Refusal::Managed(role.id));
    }
    let powers = role.permissions & POWERS;
    if !powers.is_empty() {
        return Err(Refusal::Powerful { role: role.id, powers });
    }
    let bots = bot.iter().fold(Permissions::empty(), |all, own| all | own.permissions);
    if !bots.intersects(Permissions::ADMINISTRATOR | Permissions::MANAGE_ROLES) {
        return Err(Refusal::NoPermission(role.id));
    }
    if !bot.iter().any(|own| own.is_above(role)) {
        return Err(Refusal::AboveBot(role.id));
    }
    Ok(())
}

/// A member's account and one role, as the database has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What earns the role; `None` if it's no reward any more.
    pub threshold: Option<i64>,
    /// `total_received` of the account, 0 without one.
    pub received: i64,
    /// Whether the member has left the guild.
    pub left: bool,
}

/// What a member's role should be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Left as it is: no reward, or nobody there.
    Nothing,
    /// Given: so many bytes earn it.
    Give(i64),
    /// Taken: so many bytes would earn it.
    Take(i64),
}

/// What the database says about a member and a role.
#[must_use]
pub fn due(standing: Standing) -> Due {
    match standing.threshold {
        Some(threshold) if !standing.left => {
            if standing.received >= threshold {
                Due::Give(threshold)
            } else {
                Due::Take(threshold)
            }
        }
        _ => Due::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(id: u64, position: u16, permissions: Permissions) -> Role {
        Role {
            id: RoleId::new(id),
            is_everyone: position == 0,
            managed: false,
            position,
            permissions,
        }
    }

    fn bot() -> Vec<Role> {
        vec![role(1, 0, Permissions::SEND_MESSAGES), role(50, 5, Permissions::MANAGE_ROLES)]
    }

    #[test]
    fn each_role_that_cannot_be_a_reward_is_refused_in_words_of_its_own() {
        let plain = role(20, 3, Permissions::SEND_MESSAGES);
        let managed = Role { managed: true, ..plain.clone() };
        let powerful = Role {
            permissions: Permissions::KICK_MEMBERS | Permissions::MANAGE_MESSAGES,
            ..plain.clone()
        };
        let powerless = [role(1, 0, Permissions::SEND_MESSAGES), role(50, 5, Permissions::SPEAK)];
        assert_eq!(check_reward_role(&plain, &bot()), Ok(()));

        let refusals = [
            check_reward_role(&role(1, 0, Permissions::empty()), &bot()),
            check_reward_role(&managed, &bot()),
            check_reward_role(&powerful, &bot()),
            check_reward_role(&plain, &powerless),
            check_reward_role(&role(20, 6, Permissions::empty()), &bot()),
            Err(Refusal::Gone(RoleId::new(20))),
            Err(Refusal::TooMany),
            Err(Refusal::NotAReward),
            Err(Refusal::NotSeenYet),
        ];
        let words: Vec<String> =
            refusals.into_iter().map(|refused| refused.expect_err("refused").to_string()).collect();
        insta::assert_snapshot!(words.join("\n"));
    }

    #[test]
    fn every_permission_of_a_moderator_is_one_too_many_and_a_members_are_none() {
        for power in POWERS.iter() {
            let refused = check_reward_role(&role(20, 3, power), &bot());
            assert!(matches!(refused, Err(Refusal::Powerful { .. })), "{power}: {refused:?}");
        }
        let members = Permissions::SEND_MESSAGES
            | Permissions::ADD_REACTIONS
            | Permissions::CHANGE_NICKNAME
            | Permissions::ATTACH_FILES
            | Permissions::CREATE_INSTANT_INVITE;
        assert_eq!(check_reward_role(&role(20, 3, members), &bot()), Ok(()));
    }

    #[test]
    fn of_two_roles_in_one_place_the_older_one_stands_above() {
        let at = |id| check_reward_role(&role(id, 5, Permissions::empty()), &bot());

        assert_eq!(at(51), Ok(()));
        assert_eq!(at(49), Err(Refusal::AboveBot(RoleId::new(49))));
    }

    #[test]
    fn an_administrator_needs_no_manage_roles() {
        let bot = [role(50, 5, Permissions::ADMINISTRATOR)];

        assert_eq!(check_reward_role(&role(20, 3, Permissions::empty()), &bot), Ok(()));
    }

    #[test]
    fn a_role_is_given_from_its_threshold_on_taken_below_and_else_left_alone() {
        let standing = |threshold, received, left| Standing { threshold, received, left };

        assert_eq!(due(standing(Some(500), 500, false)), Due::Give(500));
        assert_eq!(due(standing(Some(500), 499, false)), Due::Take(500));
        assert_eq!(due(standing(None, 9_000, false)), Due::Nothing);
        assert_eq!(due(standing(Some(500), 9_000, true)), Due::Nothing);
    }
}
