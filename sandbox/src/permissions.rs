//! What a member may do, and who stands above whom.

use crate::{
    Id,
    state::{Channel, GuildState},
};

macro_rules! bits {
    ($($name:ident = $bit:literal;)*) => {
        $(
            #[doc = concat!("Discord's permission bit ", stringify!($bit), ".")]
            pub const $name: u64 = 1 << $bit;
        )*
    };
}

bits! {
    CREATE_INVITE = 0;
    KICK_MEMBERS = 1;
    BAN_MEMBERS = 2;
    ADMINISTRATOR = 3;
    MANAGE_CHANNELS = 4;
    MANAGE_GUILD = 5;
    ADD_REACTIONS = 6;
    VIEW_AUDIT_LOG = 7;
    VIEW_CHANNEL = 10;
    SEND_MESSAGES = 11;
    MANAGE_MESSAGES = 13;
    EMBED_LINKS = 14;
    ATTACH_FILES = 15;
    READ_MESSAGE_HISTORY = 16;
    MENTION_EVERYONE = 17;
    USE_EXTERNAL_EMOJIS = 18;
    CHANGE_NICKNAME = 26;
    MANAGE_NICKNAMES = 27;
    MANAGE_ROLES = 28;
    USE_APPLICATION_COMMANDS = 31;
    SEND_MESSAGES_IN_THREADS = 38;
    MODERATE_MEMBERS = 40;
}

/// What a new guild's @everyone may do.
pub const EVERYONE: u64 = CREATE_INVITE
    | ADD_REACTIONS
    | VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | ATTACH_FILES
    | READ_MESSAGE_HISTORY
    | MENTION_EVERYONE
    | USE_EXTERNAL_EMOJIS
    | CHANGE_NICKNAME
    | USE_APPLICATION_COMMANDS
    | SEND_MESSAGES_IN_THREADS;

/// What the bot's own role may do in a new guild, as after an invite that asks for moderation.
pub const BOT: u64 = VIEW_CHANNEL
    | SEND_MESSAGES
    | EMBED_LINKS
    | READ_MESSAGE_HISTORY
    | MANAGE_MESSAGES
    | MANAGE_ROLES
    | MANAGE_GUILD
    | VIEW_AUDIT_LOG
    | KICK_MEMBERS
    | BAN_MEMBERS
    | MODERATE_MEMBERS;

/// Every bit Discord defines.
pub const ALL: u64 = (1 << 53) - 1;

impl GuildState {
    /// The member's permissions in the guild, without any channel.
    pub(crate) fn permissions(&self, user: Id) -> u64 {
        if user == self.owner {
            return ALL;
        }
        let Some(member) = self.members.get(&user) else { return 0 };
        let granted = self
            .roles
            .values()
            .filter(|role| role.id == self.id || member.roles.contains(&role.id))
            .fold(0, |sum, role| sum | role.permissions);
        if granted & ADMINISTRATOR == 0 { granted } else { ALL }
    }

    /// The member's permissions in one of the guild's channels.
    pub(crate) fn permissions_in(&self, user: Id, channel: &Channel) -> u64 {
        let base = self.permissions(user);
        let Some(member) = self.members.get(&user) else { return 0 };
        if base == ALL {
            return ALL;
        }
        let over = |base: u64, ids: &mut dyn Iterator<Item = Id>| {
            let (mut allow, mut deny) = (0, 0);
            for id in ids {
                if let Some(overwrite) = channel.overwrites.get(&id) {
                    allow |= overwrite.allow;
                    deny |= overwrite.deny;
                }
            }
            base & !deny | allow
        };
        let base = over(base, &mut std::iter::once(self.id));
        let base = over(base, &mut member.roles.iter().copied());
        let base = over(base, &mut std::iter::once(user));
        // Who can't see a channel can do nothing in it.
        if base & VIEW_CHANNEL == 0 { 0 } else { base }
    }

    /// The place of the member's highest role; 0 is @everyone.
    pub(crate) fn rank(&self, user: Id) -> (u16, std::cmp::Reverse<Id>) {
        let roles = self.members.get(&user).map(|member| &member.roles);
        roles
            .into_iter()
            .flatten()
            .filter_map(|id| self.roles.get(id))
            .map(crate::state::Role::rank)
            .max()
            .unwrap_or((0, std::cmp::Reverse(self.id)))
    }

    /// Whether `actor` may act on `target`: above them in roles, and never on the owner.
    pub(crate) fn outranks(&self, actor: Id, target: Id) -> bool {
        target != self.owner && (actor == self.owner || self.rank(actor) > self.rank(target))
    }
}
