-- The economy whole: confirmed transfers, members who left, role rewards through the outbox; and cheaper transfers.

-- Snowflakes as a domain: a value is checked where it is assigned, not each column at every update of its row.
create domain snowflake as varchar(20) collate "C" constraint ck_snowflake_digits check (value ~ '^[0-9]+$');
comment on domain snowflake is 'A Discord id: digits, compared bytewise; 20 are legal, so text order is not time order.';
create domain bytes_total as bigint constraint ck_bytes_total_positive check (value >= 0);
comment on domain bytes_total is 'Bytes so far, never negative.';

-- Effects in Discord that transactions promise.
create table outbox (
    guild_id      snowflake    not null,
    number        bigint       generated always as identity,
    target        varchar(100) not null,
    effect        varchar(40)  not null,
    detail        jsonb        not null default '{}',
    attempts      integer      not null default 0,
    due_at        timestamptz  not null default now(),
    claimed_by    uuid,
    claimed_until timestamptz,
    failure       varchar(500),
    told_key      snowflake,
    created_at    timestamptz  not null default now(),
    updated_at    timestamptz  not null default now(),
    constraint pk_outbox primary key (guild_id, number),
    constraint ck_outbox_attempts check (attempts >= 0),
    constraint ck_outbox_detail check (jsonb_typeof(detail) = 'object'),
    constraint ck_outbox_claim check ((claimed_by is null) = (claimed_until is null)),
    constraint ck_outbox_told check (told_key is null or failure is not null)
);
comment on table outbox is
    'What is still to be done in Discord, written in the transaction that causes it; deleted when it is done.';
comment on column outbox.number is 'The order of what was promised; the nonce of posts and messages.';
comment on column outbox.target is 'What the effect meets, such as member:123: rows of one target run one at a time, in order.';
comment on column outbox.effect is 'What is to be done, by a name that the feature knows: reward_role.';
comment on column outbox.due_at is 'Not before this; later after each failed attempt.';
comment on column outbox.claimed_until is 'Until then the row is its owner''s; past it, anybody''s.';
comment on column outbox.failure is 'Why Discord refused for good; null while the effect is to be tried.';
comment on column outbox.told_key is 'The interaction whose answer told a moderator of the failure.';
create index ix_outbox_due on outbox (due_at) where failure is null;
comment on index ix_outbox_due is 'Serves outbox::store::claim: what can be tried now.';
create index ix_outbox_target on outbox (guild_id, target, number) where failure is null;
comment on index ix_outbox_target is 'Serves outbox::store::claim: whether something of the same target comes first.';
create index ix_outbox_failed on outbox (guild_id, updated_at) where failure is not null;
comment on index ix_outbox_failed is 'Serves outbox::store::tell_failures and delete_old.';
create trigger tr_outbox_updated_at before update on outbox for each row execute function touch_updated_at();

alter table bytes_balances
    drop constraint ck_bytes_balances_guild_id,
    drop constraint ck_bytes_balances_user_id,
    drop constraint ck_bytes_balances_balance,
    drop constraint ck_bytes_balances_total_received,
    drop constraint ck_bytes_balances_total_sent,
    drop constraint ck_bytes_balances_streak_count,
    alter column guild_id type snowflake,
    alter column user_id type snowflake,
    alter column total_received type bytes_total,
    alter column total_sent type bytes_total,
    add column left_at timestamptz,
    add column last_transaction_id uuid,
    -- One short check, the rest in domains: Postgres reads a table's constraints anew at every statement.
    add constraint ck_bytes_balances_balance check (balance >= 0 and streak_count >= 0);
comment on constraint ck_bytes_balances_balance on bytes_balances is 'Neither a balance nor a streak is ever negative.';
comment on column bytes_balances.left_at is
    'When the member was seen to have left the guild; null while they are in it. Who left has no rank.';
comment on column bytes_balances.last_transaction_id is
    'The newest row of the ledger that moved this balance: the head of the member''s history.';

alter table bytes_transactions
    drop constraint ck_bytes_transactions_guild_id,
    drop constraint ck_bytes_transactions_giver_id,
    drop constraint ck_bytes_transactions_receiver_id,
    drop constraint ck_bytes_transactions_amount,
    drop constraint ck_bytes_transactions_two_sides,
    drop constraint ck_bytes_transactions_sides,
    drop constraint ck_bytes_transactions_streak,
    alter column guild_id type snowflake,
    alter column giver_id type snowflake,
    alter column receiver_id type snowflake,
    add column giver_previous_id uuid,
    add column receiver_previous_id uuid;
comment on column bytes_transactions.giver_previous_id is
    'The row that moved the giver''s balance before this one: histories are chains, for an index a side would tax every transfer.';
comment on column bytes_transactions.receiver_previous_id is 'The same for the receiver.';

create function bytes_transaction_is_sound(
    kind bytes_transaction_kind, amount bigint, giver_id varchar, receiver_id varchar,
    giver_balance bigint, receiver_balance bigint, streak integer
) returns boolean immutable language plpgsql as $$
begin
    -- A side without a balance is the bot, which has no account.
    return amount > 0
        and giver_id <> receiver_id
        and (kind = 'daily') = (streak is not null)
        and case kind
            when 'transfer' then giver_balance is not null and receiver_balance is not null
            when 'squad_fee' then giver_balance is not null and receiver_balance is null
            when 'adjustment' then (giver_balance is null) <> (receiver_balance is null)
            else giver_balance is null and receiver_balance is not null
        end;
end
$$;
comment on function bytes_transaction_is_sound is
    'What ck_bytes_transactions_sound asks. A function, for Postgres reads a constraint''s own text anew at every statement.';
alter table bytes_transactions
    add constraint ck_bytes_transactions_sound
    check (bytes_transaction_is_sound(kind, amount, giver_id, receiver_id, giver_balance, receiver_balance, streak));

-- The chains of what there is.
with sides as (
    select guild_id, giver_id as user_id, id, kind, created_at, true as gave
    from bytes_transactions where giver_balance is not null
    union all
    select guild_id, receiver_id, id, kind, created_at, false
    from bytes_transactions where receiver_balance is not null
),
chained as (
    select guild_id, id, gave, lag(id) over (
        partition by guild_id, user_id order by created_at, kind <> 'starting', id
    ) as previous_id
    from sides
)
update bytes_transactions t
set giver_previous_id = (select c.previous_id from chained c where c.guild_id = t.guild_id and c.id = t.id and c.gave),
    receiver_previous_id = (select c.previous_id from chained c where c.guild_id = t.guild_id and c.id = t.id and not c.gave);
update bytes_balances b
set last_transaction_id = (
    select t.id from bytes_transactions t
    where t.guild_id = b.guild_id
        and (t.giver_id = b.user_id and t.giver_balance is not null or t.receiver_id = b.user_id and t.receiver_balance is not null)
    order by t.created_at desc, t.kind <> 'starting' desc, t.id desc
    limit 1
);
drop index ix_bytes_transactions_giver;
drop index ix_bytes_transactions_receiver;
-- That a starting balance is paid once is opened_at's matter, under the account's lock; the audit counts them.
drop index uq_bytes_transactions_starting;

create table bytes_unranked (
    guild_id   snowflake   not null,
    user_id    snowflake   not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint pk_bytes_unranked primary key (guild_id, user_id)
);
comment on table bytes_unranked is
    'Accounts that changed since the leaderboard last looked. A change also locks the row that is there, until it commits: so it is not taken too early. Rows are written in the order of ids, behind the accounts'' locks.';
create trigger tr_bytes_unranked_updated_at before update on bytes_unranked
    for each row execute function touch_updated_at();

-- An update that sets updated_at itself need not be told.
drop trigger tr_bytes_balances_updated_at on bytes_balances;
create trigger tr_bytes_balances_updated_at before update on bytes_balances
    for each row when (new.updated_at = old.updated_at) execute function touch_updated_at();

drop function bytes_transfer, bytes_claim_daily, bytes_open, bytes_pay_starting, bytes_config;

create function bytes_defaults() returns bytes_configs immutable language sql as $$
    select row(
        null, 100, 10, '{"8": 2, "16": 4, "32": 8, "64": 16}'::jsonb, 1000, 0, '{}'::jsonb, 100, 0, 'bytes', null, null, null
    )::bytes_configs
$$;
comment on function bytes_defaults is 'The defaults of the columns, for a guild without a row.';

create function bytes_config(p_guild_id varchar) returns bytes_configs language plpgsql stable as $$
declare
    config bytes_configs;
begin
    select * into config from bytes_configs where guild_id = p_guild_id;
    if not found then
        config := bytes_defaults();
    end if;
    return config;
end
$$;
comment on function bytes_config is 'The guild''s settings, or the defaults.';

create function bytes_changed(p_guild_id varchar, variadic p_user_ids varchar[]) returns void language plpgsql as $$
begin
    insert into bytes_unranked (guild_id, user_id)
    select p_guild_id, u.user_id from unnest(p_user_ids) as u (user_id) order by u.user_id
    on conflict (guild_id, user_id) do update set updated_at = now();
end
$$;
comment on function bytes_changed is 'Tells the leaderboard that accounts changed. The caller holds their locks.';

create function bytes_promise_rewards(
    p_guild_id varchar, p_user_id varchar, p_role_rewards jsonb, p_before bigint, p_after bigint
) returns boolean language plpgsql as $$
begin
    insert into outbox (guild_id, target, effect, detail)
    select p_guild_id, 'member:' || p_user_id, 'reward_role', jsonb_build_object('role', reward.key)
    from jsonb_each_text(p_role_rewards) reward
    where reward.value::bigint > p_before and reward.value::bigint <= p_after
    order by reward.value::bigint, reward.key;
    return found;
end
$$;
comment on function bytes_promise_rewards is
    'Promises the roles whose threshold total_received passed; whether there are any. The caller holds the account''s lock.';

create function bytes_pay_starting(
    config bytes_configs, account bytes_balances, p_id uuid, p_now timestamptz, p_account_created timestamptz,
    p_username varchar, p_bot_id varchar, p_bot_username varchar
) returns bytes_balances language plpgsql as $$
begin
    if account.opened_at is not null
        or config.min_account_age_days > 0
            and p_now < p_account_created + make_interval(hours => 24 * config.min_account_age_days)
        or account.balance > 9223372036854775807 - config.starting_balance
    then
        return account;
    end if;
    if config.starting_balance > 0 then
        insert into bytes_transactions (
            guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, receiver_balance,
            receiver_previous_id, created_at
        ) values (
            account.guild_id, p_id, 'starting', p_bot_id, p_bot_username, account.user_id, p_username,
            config.starting_balance, account.balance + config.starting_balance, account.last_transaction_id, p_now
        );
        account.last_transaction_id := p_id;
    end if;
    update bytes_balances
    set balance = balance + config.starting_balance, opened_at = p_now, last_transaction_id = account.last_transaction_id
    where guild_id = account.guild_id and user_id = account.user_id
    returning * into account;
    return account;
end
$$;
comment on function bytes_pay_starting is
    'Pays the starting balance, once. The caller holds the lock on the account''s row, and tells the leaderboard.';

create function bytes_open(
    p_guild_id varchar, p_user_id varchar, p_username varchar, p_account_created timestamptz,
    p_bot_id varchar, p_bot_username varchar, p_starting_id uuid, p_now timestamptz
) returns bytes_balances language plpgsql as $$
declare
    account bytes_balances;
begin
    select * into account from bytes_balances where guild_id = p_guild_id and user_id = p_user_id;
    if account.opened_at is not null and account.left_at is null then
        return account;
    end if;
    insert into bytes_balances (guild_id, user_id) values (p_guild_id, p_user_id) on conflict do nothing;
    select * into account from bytes_balances where guild_id = p_guild_id and user_id = p_user_id for update;
    if account.left_at is not null then
        update bytes_balances set left_at = null where guild_id = p_guild_id and user_id = p_user_id returning * into account;
    end if;
    perform bytes_changed(p_guild_id, p_user_id);
    return bytes_pay_starting(
        bytes_config(p_guild_id), account, p_starting_id, p_now, p_account_created, p_username, p_bot_id, p_bot_username
    );
end
$$;
comment on function bytes_open is
    'The member''s account after an own command: opened with the starting balance if this is the first; present again if they had left.';

create function bytes_transfer(
    p_guild_id varchar, p_interaction_id varchar, p_id uuid, p_starting_id uuid, p_now timestamptz,
    p_giver_id varchar, p_giver_username varchar, p_giver_created timestamptz,
    p_receiver_id varchar, p_receiver_username varchar, p_bot_id varchar, p_bot_username varchar,
    p_amount bigint, p_reason varchar, p_confirmed boolean,
    out outcome text, out balance bigint, out receiver_balance bigint, out bound bigint, out until timestamptz,
    out currency_name varchar, out currency_emoji varchar, out again boolean, out promised boolean
) language plpgsql as $$
declare
    config bytes_configs;
    account bytes_balances;
    giver bytes_balances;
    receiver bytes_balances;
    earliest timestamptz;
    said jsonb;
    receiver_is_new boolean := false;
    is_asked boolean;
begin
    select * into config from bytes_configs c where c.guild_id = p_guild_id;
    if not found then
        config := bytes_defaults();
    end if;
    currency_name := config.currency_name;
    currency_emoji := config.currency_emoji;
    again := false;
    promised := false;
    -- What is missing is inserted before anything is locked, and both in the order of ids: two transfers never wait for
    -- each other in a circle.
    if (select count(*) from bytes_balances b where b.guild_id = p_guild_id and b.user_id in (p_giver_id, p_receiver_id)) < 2 then
        with added as (
            insert into bytes_balances (guild_id, user_id)
            select p_guild_id, missing.user_id
            from (values (p_giver_id), (p_receiver_id)) as missing (user_id)
            order by missing.user_id
            on conflict do nothing
            returning bytes_balances.user_id
        )
        select coalesce(bool_or(added.user_id = p_receiver_id), false) into receiver_is_new from added;
    end if;
    for account in
        select * from bytes_balances b where b.guild_id = p_guild_id and b.user_id in (p_giver_id, p_receiver_id)
        order by b.user_id for update
    loop
        if account.user_id = p_giver_id then
            giver := account;
        else
            receiver := account;
        end if;
    end loop;

    -- Delivered before: the answer of the first time, from its row.
    select 'done', t.giver_balance, t.receiver_balance, true into outcome, balance, receiver_balance, again
    from bytes_transactions t where t.guild_id = p_guild_id and t.id = p_id;
    if found then
        -- Who made it may have died before telling.
        perform bytes_changed(p_guild_id, p_giver_id, p_receiver_id);
        return;
    end if;
    again := false;
    -- Asked before: it's asked again, whatever the settings say now; only the button moves bytes.
    is_asked := not p_confirmed and exists (
        select from processed_interactions p
        where p.guild_id = p_guild_id and p.interaction_id = p_interaction_id and p.part = 'confirm'
    );
    select p.outcome into said from processed_interactions p
    where p.guild_id = p_guild_id and p.interaction_id = p_interaction_id and p.part = 'transfer';
    if found then
        outcome := said ->> 'outcome';
        balance := said ->> 'balance';
        bound := said ->> 'bound';
        until := said ->> 'until';
        again := true;
        if receiver_is_new then
            delete from bytes_balances b where b.guild_id = p_guild_id and b.user_id = p_receiver_id;
        end if;
        return;
    end if;

    if giver.opened_at is null then
        perform bytes_changed(p_guild_id, p_giver_id, p_receiver_id);
        giver := bytes_pay_starting(
            config, giver, p_starting_id, p_now, p_giver_created, p_giver_username, p_bot_id, p_bot_username
        );
    end if;
    balance := giver.balance;
    if config.min_account_age_days > 0 then
        earliest := p_giver_created + make_interval(hours => 24 * config.min_account_age_days);
    end if;

    -- The decision; rules::check_transfer is the same in Rust.
    if is_asked then
        outcome := 'confirm';
    elsif p_now < earliest then
        outcome := 'too_young';
        until := earliest;
    elsif p_amount > config.max_transfer then
        outcome := 'above_limit';
        bound := config.max_transfer;
    elsif config.transfer_cooldown_hours > 0
        and p_now < giver.last_transfer_at + make_interval(hours => config.transfer_cooldown_hours)
    then
        outcome := 'on_cooldown';
        until := giver.last_transfer_at + make_interval(hours => config.transfer_cooldown_hours);
    elsif p_amount > giver.balance then
        outcome := 'too_little';
    elsif receiver.balance > 9223372036854775807 - p_amount
        or receiver.total_received > 9223372036854775807 - p_amount
        or giver.total_sent > 9223372036854775807 - p_amount
    then
        outcome := 'overflow';
    elsif p_confirmed and receiver.left_at is not null then
        outcome := 'left';
    elsif not p_confirmed and config.confirm_from > 0 and p_amount >= config.confirm_from then
        outcome := 'confirm';
    end if;
    if giver.left_at is not null or outcome = 'confirm' and receiver.left_at is not null then
        update bytes_balances b set left_at = null
        where b.guild_id = p_guild_id and (b.user_id = p_giver_id or outcome = 'confirm' and b.user_id = p_receiver_id);
        perform bytes_changed(p_guild_id, p_giver_id, p_receiver_id);
    end if;
    if outcome is not null then
        if outcome = 'confirm' then
            -- What the button will confirm: it carries only the key.
            insert into processed_interactions (guild_id, interaction_id, part, outcome) values (
                p_guild_id, p_interaction_id, 'confirm',
                jsonb_build_object(
                    'receiver_id', p_receiver_id, 'receiver_username', p_receiver_username, 'amount', p_amount, 'reason', p_reason
                )
            )
            on conflict do nothing;
        else
            insert into processed_interactions (guild_id, interaction_id, part, outcome) values (
                p_guild_id, p_interaction_id, 'transfer',
                jsonb_build_object('outcome', outcome, 'balance', balance, 'bound', bound, 'until', until)
            );
        end if;
        -- Who was only meant to receive has no account for it.
        if receiver_is_new then
            delete from bytes_balances b where b.guild_id = p_guild_id and b.user_id = p_receiver_id;
        end if;
        return;
    end if;

    balance := giver.balance - p_amount;
    receiver_balance := receiver.balance + p_amount;
    insert into bytes_transactions (
        guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, reason,
        giver_balance, receiver_balance, giver_previous_id, receiver_previous_id, created_at
    ) values (
        p_guild_id, p_id, 'transfer', p_giver_id, p_giver_username, p_receiver_id, p_receiver_username, p_amount, p_reason,
        balance, receiver_balance, giver.last_transaction_id, receiver.last_transaction_id, p_now
    );
    update bytes_balances b
    set balance = b.balance + case b.user_id when p_giver_id then -p_amount else p_amount end,
        total_sent = b.total_sent + case b.user_id when p_giver_id then p_amount else 0 end,
        total_received = b.total_received + case b.user_id when p_giver_id then 0 else p_amount end,
        last_transfer_at = case b.user_id when p_giver_id then greatest(b.last_transfer_at, p_now) else b.last_transfer_at end,
        last_transaction_id = p_id,
        left_at = null,
        updated_at = now()
    where b.guild_id = p_guild_id and b.user_id in (p_giver_id, p_receiver_id);
    perform bytes_changed(p_guild_id, p_giver_id, p_receiver_id);
    if config.role_rewards <> '{}' then
        promised := bytes_promise_rewards(
            p_guild_id, p_receiver_id, config.role_rewards, receiver.total_received, receiver.total_received + p_amount
        );
    end if;
    outcome := 'done';
end
$$;
comment on function bytes_transfer is
    'Sends bytes from a member to another in one round trip: outcome done, confirm, or the code of a refusal with its figures; again when an earlier delivery decided; promised when the outbox got something to do.';

create function bytes_claim_daily(
    p_guild_id varchar, p_interaction_id varchar, p_id uuid, p_starting_id uuid, p_now timestamptz,
    p_user_id varchar, p_username varchar, p_account_created timestamptz, p_bot_id varchar, p_bot_username varchar,
    out outcome text, out reward bigint, out streak integer, out balance bigint, out until timestamptz,
    out next_length integer, out next_multiplier integer,
    out currency_name varchar, out currency_emoji varchar, out promised boolean
) language plpgsql as $$
declare
    config bytes_configs := bytes_config(p_guild_id);
    account bytes_balances;
    today date := (p_now at time zone 'UTC')::date;
    earliest timestamptz;
    said jsonb;
begin
    currency_name := config.currency_name;
    currency_emoji := config.currency_emoji;
    promised := false;
    insert into bytes_balances (guild_id, user_id) values (p_guild_id, p_user_id) on conflict do nothing;
    select * into account from bytes_balances where guild_id = p_guild_id and user_id = p_user_id for update;

    -- Delivered before: the answer of the first time, from its row.
    select 'done', t.amount, t.streak, t.receiver_balance into outcome, reward, streak, balance
    from bytes_transactions t where t.guild_id = p_guild_id and t.id = p_id;
    if not found then
        select p.outcome into said from processed_interactions p
        where p.guild_id = p_guild_id and p.interaction_id = p_interaction_id and p.part = 'daily';
        if found then
            outcome := said ->> 'outcome';
            until := said ->> 'until';
            return;
        end if;

        account := bytes_pay_starting(
            config, account, p_starting_id, p_now, p_account_created, p_username, p_bot_id, p_bot_username
        );
        perform bytes_changed(p_guild_id, p_user_id);
        streak := case when account.last_daily = today - 1 then least(account.streak_count, 2147483646) + 1 else 1 end;
        reward := config.daily_amount * coalesce(
            (select max(b.value::integer) from jsonb_each_text(config.streak_bonuses) b where b.key::integer <= streak), 1
        );

        if config.min_account_age_days > 0 then
            earliest := p_account_created + make_interval(hours => 24 * config.min_account_age_days);
        end if;

        -- The decision; rules::check_daily is the same in Rust.
        if p_now < earliest then
            outcome := 'too_young';
            until := earliest;
        elsif account.last_daily >= today then
            outcome := 'claimed';
            until := (account.last_daily + 1)::timestamp at time zone 'UTC';
        elsif account.balance > 9223372036854775807 - reward or account.total_received > 9223372036854775807 - reward then
            outcome := 'overflow';
        end if;
        if outcome is not null then
            if account.left_at is not null then
                update bytes_balances b set left_at = null where b.guild_id = p_guild_id and b.user_id = p_user_id;
            end if;
            insert into processed_interactions (guild_id, interaction_id, part, outcome) values (
                p_guild_id, p_interaction_id, 'daily', jsonb_build_object('outcome', outcome, 'until', until)
            );
            return;
        end if;

        balance := account.balance + reward;
        insert into bytes_transactions (
            guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount,
            receiver_balance, streak, receiver_previous_id, created_at
        ) values (
            p_guild_id, p_id, 'daily', p_bot_id, p_bot_username, p_user_id, p_username, reward,
            balance, streak, account.last_transaction_id, p_now
        );
        update bytes_balances b
        set balance = b.balance + reward,
            total_received = b.total_received + reward,
            last_daily = today,
            streak_count = bytes_claim_daily.streak,
            last_transaction_id = p_id,
            left_at = null
        where b.guild_id = p_guild_id and b.user_id = p_user_id;
        if config.role_rewards <> '{}' then
            promised := bytes_promise_rewards(
                p_guild_id, p_user_id, config.role_rewards, account.total_received, account.total_received + reward
            );
        end if;
        outcome := 'done';
    end if;

    until := (today + 1)::timestamp at time zone 'UTC';
    select b.key::integer, b.value::integer into next_length, next_multiplier
    from jsonb_each_text(config.streak_bonuses) b
    where b.key::integer > streak
    order by b.key::integer limit 1;
end
$$;
comment on function bytes_claim_daily is
    'Pays a member''s daily in one round trip: outcome done, or the code of a refusal with its figures.';

create function bytes_transfer_plain(
    p_guild_id varchar, p_interaction_id varchar, p_id uuid, p_now timestamptz,
    p_giver_id varchar, p_giver_username varchar, p_giver_created timestamptz,
    p_receiver_id varchar, p_receiver_username varchar, p_amount bigint, p_reason varchar, p_confirmed boolean,
    out balance bigint, out receiver_balance bigint,
    out currency_name varchar, out currency_emoji varchar, out promised boolean
) language plpgsql as $$
#variable_conflict use_column
declare
    config bytes_configs;
    giver_sent bigint;
    giver_transfer_at timestamptz;
    giver_opened_at timestamptz;
    giver_left_at timestamptz;
    giver_previous_id uuid;
    receiver_received bigint;
    receiver_left_at timestamptz;
    receiver_previous_id uuid;
begin
    select * into config from bytes_configs c where c.guild_id = p_guild_id;
    if not found then
        config := bytes_defaults();
    end if;
    -- Waits for nobody, so that the order doesn't matter.
    select b.balance, b.total_sent, b.last_transfer_at, b.opened_at, b.left_at, b.last_transaction_id
    into balance, giver_sent, giver_transfer_at, giver_opened_at, giver_left_at, giver_previous_id
    from bytes_balances b where b.guild_id = p_guild_id and b.user_id = p_giver_id for update skip locked;
    select b.balance, b.total_received, b.left_at, b.last_transaction_id
    into receiver_balance, receiver_received, receiver_left_at, receiver_previous_id
    from bytes_balances b where b.guild_id = p_guild_id and b.user_id = p_receiver_id for update skip locked;

    -- What bytes_transfer would allow at once; anything else is its to decide.
    if p_amount <= balance
        and p_amount <= config.max_transfer
        and (p_confirmed or config.confirm_from = 0 or p_amount < config.confirm_from)
        and giver_opened_at is not null and giver_left_at is null and receiver_left_at is null
        and (
            config.transfer_cooldown_hours = 0 or giver_transfer_at is null
            or p_now >= giver_transfer_at + make_interval(hours => config.transfer_cooldown_hours)
        )
        and (
            config.min_account_age_days = 0
            or p_now >= p_giver_created + make_interval(hours => 24 * config.min_account_age_days)
        )
        and greatest(receiver_balance, receiver_received, giver_sent) <= 9223372036854775807 - p_amount
        and receiver_balance is not null
    then
        balance := balance - p_amount;
        receiver_balance := receiver_balance + p_amount;
        insert into bytes_transactions (
            guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, reason,
            giver_balance, receiver_balance, giver_previous_id, receiver_previous_id, created_at
        )
        select
            p_guild_id, p_id, 'transfer', p_giver_id, p_giver_username, p_receiver_id, p_receiver_username,
            p_amount, p_reason, bytes_transfer_plain.balance, bytes_transfer_plain.receiver_balance,
            giver_previous_id, receiver_previous_id, p_now
        where not exists (
            select from processed_interactions p
            where p.guild_id = p_guild_id and p.interaction_id = p_interaction_id
                and (p.part = 'transfer' or p.part = 'confirm' and not p_confirmed)
        )
        on conflict do nothing;
        if found then
            update bytes_balances b
            set balance = b.balance + case b.user_id when p_giver_id then -p_amount else p_amount end,
                total_sent = b.total_sent + case b.user_id when p_giver_id then p_amount else 0 end,
                total_received = b.total_received + case b.user_id when p_giver_id then 0 else p_amount end,
                last_transfer_at =
                    case b.user_id when p_giver_id then greatest(b.last_transfer_at, p_now) else b.last_transfer_at end,
                last_transaction_id = p_id,
                updated_at = now()
            where b.guild_id = p_guild_id and b.user_id in (p_giver_id, p_receiver_id);
            currency_name := config.currency_name;
            currency_emoji := config.currency_emoji;
            if config.role_rewards <> '{}' then
                promised := bytes_promise_rewards(
                    p_guild_id, p_receiver_id, config.role_rewards, receiver_received, receiver_received + p_amount
                );
            end if;
            return;
        end if;
    end if;
    balance := null;
end
$$;
comment on function bytes_transfer_plain is
    'Sends bytes where nothing but a yes needs deciding and nobody else holds the accounts; balance is null where bytes_transfer must be asked.';

create function bytes_transfer_batch(
    p_guild_ids varchar[], p_interaction_ids varchar[], p_ids uuid[], p_nows timestamptz[],
    p_giver_ids varchar[], p_giver_usernames varchar[], p_giver_createds timestamptz[],
    p_receiver_ids varchar[], p_receiver_usernames varchar[], p_amounts bigint[], p_reasons varchar[], p_confirmeds boolean[],
    out balances bigint[], out receiver_balances bigint[],
    out currency_names varchar[], out currency_emojis varchar[], out promised boolean
)
language plpgsql
-- The planner would plan each batch anew, for it can't tell the arrays' sizes.
set plan_cache_mode = force_generic_plan
as $$
#variable_conflict use_column
declare
    size integer := cardinality(p_ids);
    -- The accounts, by their place.
    guild_ids varchar[];
    user_ids varchar[];
    held bigint[];
    received bigint[];
    sent bigint[];
    transfer_ats timestamptz[];
    last_ids uuid[];
    -- The transfers, by theirs.
    giver_previous_ids uuid[] := array_fill(null::uuid, array[size]);
    receiver_previous_ids uuid[] := array_fill(null::uuid, array[size]);
    entry record;
    g integer;
    r integer;
begin
    -- A few are sooner made one by one.
    if size < 8 then
        select
            array_agg(made.balance order by o.place), array_agg(made.receiver_balance order by o.place),
            array_agg(made.currency_name order by o.place), array_agg(made.currency_emoji order by o.place),
            coalesce(bool_or(made.promised), false)
        into balances, receiver_balances, currency_names, currency_emojis, promised
        from unnest(
            p_guild_ids, p_interaction_ids, p_ids, p_nows, p_giver_ids, p_giver_usernames, p_giver_createds,
            p_receiver_ids, p_receiver_usernames, p_amounts, p_reasons, p_confirmeds
        ) with ordinality as o (
            guild_id, interaction_id, id, now, giver_id, giver_username, created,
            receiver_id, receiver_username, amount, reason, confirmed, place
        )
        cross join lateral bytes_transfer_plain(
            o.guild_id, o.interaction_id, o.id, o.now, o.giver_id, o.giver_username, o.created,
            o.receiver_id, o.receiver_username, o.amount, o.reason, o.confirmed
        ) as made;
        return;
    end if;
    balances := array_fill(null::bigint, array[size]);
    receiver_balances := balances;
    currency_names := array_fill(null::varchar, array[size]);
    currency_emojis := currency_names;
    promised := false;

    -- Whom nobody else holds, and who takes part at all; the next statements see them as they are under the lock.
    select
        array_agg(account.guild_id), array_agg(account.user_id), array_agg(account.balance),
        array_agg(account.total_received), array_agg(account.total_sent), array_agg(account.last_transfer_at),
        array_agg(account.last_transaction_id)
    into guild_ids, user_ids, held, received, sent, transfer_ats, last_ids
    from (
        select b.guild_id, b.user_id, b.balance, b.total_received, b.total_sent, b.last_transfer_at, b.last_transaction_id
        from (
            select distinct side.guild_id, side.user_id
            from unnest(p_guild_ids || p_guild_ids, p_giver_ids || p_receiver_ids) as side (guild_id, user_id)
        ) as side
        join bytes_balances b on b.guild_id = side.guild_id and b.user_id = side.user_id
        where b.left_at is null
        for update of b skip locked
    ) as account;

    for entry in
        select
            o.place, giver.place as giver, receiver.place as receiver, o.amount, o.now, o.created, o.confirmed, b.opened_at,
            coalesce(c.max_transfer, d.max_transfer) as max_transfer,
            coalesce(c.confirm_from, d.confirm_from) as confirm_from,
            coalesce(c.transfer_cooldown_hours, d.transfer_cooldown_hours) as cooldown_hours,
            coalesce(c.min_account_age_days, d.min_account_age_days) as min_age_days,
            coalesce(c.role_rewards, d.role_rewards) as role_rewards,
            coalesce(c.currency_name, d.currency_name) as currency_name,
            c.currency_emoji
        from unnest(
            p_guild_ids, p_interaction_ids, p_ids, p_nows, p_giver_ids, p_giver_createds, p_receiver_ids, p_amounts, p_confirmeds
        ) with ordinality as o (
            guild_id, interaction_id, id, now, giver_id, created, receiver_id, amount, confirmed, place
        )
        join unnest(guild_ids, user_ids) with ordinality as giver (guild_id, user_id, place)
            on giver.guild_id = o.guild_id and giver.user_id = o.giver_id
        join unnest(guild_ids, user_ids) with ordinality as receiver (guild_id, user_id, place)
            on receiver.guild_id = o.guild_id and receiver.user_id = o.receiver_id
        join bytes_balances b on b.guild_id = o.guild_id and b.user_id = o.giver_id
        left join bytes_configs c on c.guild_id = o.guild_id
        left join bytes_transactions t on t.guild_id = o.guild_id and t.id = o.id
        left join lateral (
            select p.part from processed_interactions p
            where p.guild_id = o.guild_id and p.interaction_id = o.interaction_id
                and (p.part = 'transfer' or p.part = 'confirm' and not o.confirmed)
            limit 1
        ) as p on true
        cross join bytes_defaults() d
        where t.id is null and p.part is null
        order by o.place
    loop
        g := entry.giver;
        r := entry.receiver;
        -- What bytes_transfer would allow at once; anything else is its to decide.
        if entry.amount <= held[g]
            and entry.amount <= entry.max_transfer
            and (entry.confirmed or entry.confirm_from = 0 or entry.amount < entry.confirm_from)
            and entry.opened_at is not null
            and (
                entry.cooldown_hours = 0 or transfer_ats[g] is null
                or entry.now >= transfer_ats[g] + make_interval(hours => entry.cooldown_hours)
            )
            and (
                entry.min_age_days = 0
                or entry.now >= entry.created + make_interval(hours => 24 * entry.min_age_days)
            )
            and greatest(held[r], received[r], sent[g]) <= 9223372036854775807 - entry.amount
        then
            held[g] := held[g] - entry.amount;
            sent[g] := sent[g] + entry.amount;
            transfer_ats[g] := greatest(transfer_ats[g], entry.now);
            giver_previous_ids[entry.place] := last_ids[g];
            last_ids[g] := p_ids[entry.place];
            if entry.role_rewards <> '{}' then
                promised := bytes_promise_rewards(
                    p_guild_ids[entry.place], p_receiver_ids[entry.place], entry.role_rewards, received[r], received[r] + entry.amount
                ) or promised;
            end if;
            held[r] := held[r] + entry.amount;
            received[r] := received[r] + entry.amount;
            receiver_previous_ids[entry.place] := last_ids[r];
            last_ids[r] := p_ids[entry.place];
            balances[entry.place] := held[g];
            receiver_balances[entry.place] := held[r];
            currency_names[entry.place] := entry.currency_name;
            currency_emojis[entry.place] := entry.currency_emoji;
        end if;
    end loop;

    insert into bytes_transactions (
        guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, reason,
        giver_balance, receiver_balance, giver_previous_id, receiver_previous_id, created_at
    )
    select
        o.guild_id, o.id, 'transfer', o.giver_id, o.giver_username, o.receiver_id, o.receiver_username, o.amount, o.reason,
        o.balance, o.receiver_balance, o.giver_previous_id, o.receiver_previous_id, o.now
    from unnest(
        p_guild_ids, p_ids, p_nows, p_giver_ids, p_giver_usernames, p_receiver_ids, p_receiver_usernames, p_amounts, p_reasons,
        balances, receiver_balances, giver_previous_ids, receiver_previous_ids
    ) as o (
        guild_id, id, now, giver_id, giver_username, receiver_id, receiver_username, amount, reason,
        balance, receiver_balance, giver_previous_id, receiver_previous_id
    )
    where o.balance is not null;
    if not found then
        return;
    end if;
    update bytes_balances b
    set balance = a.balance,
        total_received = a.total_received,
        total_sent = a.total_sent,
        last_transfer_at = a.last_transfer_at,
        last_transaction_id = a.last_transaction_id,
        updated_at = now()
    from unnest(guild_ids, user_ids, held, received, sent, transfer_ats, last_ids) as a (
        guild_id, user_id, balance, total_received, total_sent, last_transfer_at, last_transaction_id
    )
    where b.guild_id = a.guild_id and b.user_id = a.user_id and b.last_transaction_id is distinct from a.last_transaction_id;
end
$$;
comment on function bytes_transfer_batch is
    'Sends many transfers in one transaction, each as bytes_transfer_plain would in its turn; balances are null where bytes_transfer must be asked.';
