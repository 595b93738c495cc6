drop function bytes_transfer_batch, bytes_transfer_plain, bytes_transfer, bytes_claim_daily, bytes_open, bytes_pay_starting, bytes_promise_rewards, bytes_changed, bytes_config, bytes_defaults;
drop table outbox, bytes_unranked;

drop trigger tr_bytes_balances_updated_at on bytes_balances;
create trigger tr_bytes_balances_updated_at before update on bytes_balances
    for each row execute function touch_updated_at();
alter table bytes_transactions
    drop constraint ck_bytes_transactions_sound,
    drop column giver_previous_id,
    drop column receiver_previous_id,
    alter column guild_id type varchar(20) collate "C",
    alter column giver_id type varchar(20) collate "C",
    alter column receiver_id type varchar(20) collate "C",
    add constraint ck_bytes_transactions_guild_id check (guild_id ~ '^[0-9]+$'),
    add constraint ck_bytes_transactions_giver_id check (giver_id ~ '^[0-9]+$'),
    add constraint ck_bytes_transactions_receiver_id check (receiver_id ~ '^[0-9]+$'),
    add constraint ck_bytes_transactions_amount check (amount > 0),
    add constraint ck_bytes_transactions_two_sides check (giver_id <> receiver_id),
    add constraint ck_bytes_transactions_sides check (
        case kind
            when 'transfer' then giver_balance is not null and receiver_balance is not null
            when 'squad_fee' then giver_balance is not null and receiver_balance is null
            when 'adjustment' then (giver_balance is null) <> (receiver_balance is null)
            else giver_balance is null and receiver_balance is not null
        end
    ),
    add constraint ck_bytes_transactions_streak check ((kind = 'daily') = (streak is not null));
drop function bytes_transaction_is_sound;
create unique index uq_bytes_transactions_starting on bytes_transactions (guild_id, receiver_id)
    where kind = 'starting';
create index ix_bytes_transactions_giver on bytes_transactions (guild_id, giver_id, created_at desc);
create index ix_bytes_transactions_receiver on bytes_transactions (guild_id, receiver_id, created_at desc);
alter table bytes_balances
    drop constraint ck_bytes_balances_balance,
    drop column left_at,
    drop column last_transaction_id,
    alter column guild_id type varchar(20) collate "C",
    alter column user_id type varchar(20) collate "C",
    alter column total_received type bigint,
    alter column total_sent type bigint,
    add constraint ck_bytes_balances_guild_id check (guild_id ~ '^[0-9]+$'),
    add constraint ck_bytes_balances_user_id check (user_id ~ '^[0-9]+$'),
    add constraint ck_bytes_balances_balance check (balance >= 0),
    add constraint ck_bytes_balances_total_received check (total_received >= 0),
    add constraint ck_bytes_balances_total_sent check (total_sent >= 0),
    add constraint ck_bytes_balances_streak_count check (streak_count >= 0);
drop domain snowflake;
drop domain bytes_total;

-- The functions as they were.
create function bytes_config(p_guild_id varchar) returns bytes_configs language plpgsql stable as $$
declare
    config bytes_configs;
begin
    select * into config from bytes_configs where guild_id = p_guild_id;
    if not found then
        config := row(
            p_guild_id, 100, 10, '{"8": 2, "16": 4, "32": 8, "64": 16}'::jsonb, 1000, 0, '{}'::jsonb, 100, 0, 'bytes', null,
            now(), now()
        );
    end if;
    return config;
end
$$;
comment on function bytes_config is 'The guild''s settings, or the defaults of the columns.';

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
    update bytes_balances
    set balance = balance + config.starting_balance, opened_at = p_now
    where guild_id = account.guild_id and user_id = account.user_id
    returning * into account;
    if config.starting_balance > 0 then
        insert into bytes_transactions (
            guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, receiver_balance, created_at
        ) values (
            account.guild_id, p_id, 'starting', p_bot_id, p_bot_username, account.user_id, p_username,
            config.starting_balance, account.balance, p_now
        );
    end if;
    return account;
end
$$;
comment on function bytes_pay_starting is
    'Pays the starting balance, once. The caller holds the lock on the account''s row.';

create function bytes_open(
    p_guild_id varchar, p_user_id varchar, p_username varchar, p_account_created timestamptz,
    p_bot_id varchar, p_bot_username varchar, p_starting_id uuid, p_now timestamptz
) returns bytes_balances language plpgsql as $$
declare
    account bytes_balances;
begin
    select * into account from bytes_balances where guild_id = p_guild_id and user_id = p_user_id;
    if account.opened_at is not null then
        return account;
    end if;
    insert into bytes_balances (guild_id, user_id) values (p_guild_id, p_user_id) on conflict do nothing;
    select * into account from bytes_balances where guild_id = p_guild_id and user_id = p_user_id for update;
    return bytes_pay_starting(
        bytes_config(p_guild_id), account, p_starting_id, p_now, p_account_created, p_username, p_bot_id, p_bot_username
    );
end
$$;
comment on function bytes_open is
    'The member''s account after an own command: opened with the starting balance if this is the first.';

create function bytes_transfer(
    p_guild_id varchar, p_interaction_id varchar, p_id uuid, p_starting_id uuid, p_now timestamptz,
    p_giver_id varchar, p_giver_username varchar, p_giver_created timestamptz,
    p_receiver_id varchar, p_receiver_username varchar, p_bot_id varchar, p_bot_username varchar,
    p_amount bigint, p_reason varchar,
    out outcome text, out balance bigint, out receiver_balance bigint, out bound bigint, out until timestamptz
) language plpgsql as $$
declare
    config bytes_configs := bytes_config(p_guild_id);
    account bytes_balances;
    giver bytes_balances;
    receiver bytes_balances;
    earliest timestamptz;
    said jsonb;
    receiver_is_new boolean := false;
begin
    -- What is missing is inserted before anything is locked, and both in the order of ids: two transfers never wait for
    -- each other in a circle.
    if (select count(*) from bytes_balances where guild_id = p_guild_id and user_id in (p_giver_id, p_receiver_id)) < 2 then
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
        select * from bytes_balances where guild_id = p_guild_id and user_id in (p_giver_id, p_receiver_id)
        order by user_id for update
    loop
        if account.user_id = p_giver_id then
            giver := account;
        else
            receiver := account;
        end if;
    end loop;

    -- Delivered before: the answer of the first time, from its row.
    select 'done', t.giver_balance, t.receiver_balance into outcome, balance, receiver_balance
    from bytes_transactions t where t.guild_id = p_guild_id and t.id = p_id;
    if found then
        return;
    end if;
    select p.outcome into said from processed_interactions p
    where p.guild_id = p_guild_id and p.interaction_id = p_interaction_id and p.part = 'transfer';
    if found then
        outcome := said ->> 'outcome';
        balance := said ->> 'balance';
        bound := said ->> 'bound';
        until := said ->> 'until';
        if receiver_is_new then
            delete from bytes_balances where guild_id = p_guild_id and user_id = p_receiver_id;
        end if;
        return;
    end if;

    if giver.opened_at is null then
        giver := bytes_pay_starting(
            config, giver, p_starting_id, p_now, p_giver_created, p_giver_username, p_bot_id, p_bot_username
        );
    end if;
    balance := giver.balance;
    if config.min_account_age_days > 0 then
        earliest := p_giver_created + make_interval(hours => 24 * config.min_account_age_days);
    end if;

    -- The decision; rules::check_transfer is the same in Rust.
    if p_now < earliest then
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
    end if;
    if outcome is not null then
        insert into processed_interactions (guild_id, interaction_id, part, outcome) values (
            p_guild_id, p_interaction_id, 'transfer',
            jsonb_build_object('outcome', outcome, 'balance', balance, 'bound', bound, 'until', until)
        );
        -- Who was only meant to receive has no account for it.
        if receiver_is_new then
            delete from bytes_balances where guild_id = p_guild_id and user_id = p_receiver_id;
        end if;
        return;
    end if;

    update bytes_balances b
    set balance = b.balance - p_amount,
        total_sent = b.total_sent + p_amount,
        last_transfer_at = greatest(b.last_transfer_at, p_now)
    where b.guild_id = p_guild_id and b.user_id = p_giver_id
    returning b.balance into balance;
    update bytes_balances b
    set balance = b.balance + p_amount, total_received = b.total_received + p_amount
    where b.guild_id = p_guild_id and b.user_id = p_receiver_id
    returning b.balance into receiver_balance;
    insert into bytes_transactions (
        guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, reason,
        giver_balance, receiver_balance, created_at
    ) values (
        p_guild_id, p_id, 'transfer', p_giver_id, p_giver_username, p_receiver_id, p_receiver_username, p_amount, p_reason,
        balance, receiver_balance, p_now
    );
    outcome := 'done';
end
$$;
comment on function bytes_transfer is
    'Sends bytes from a member to another in one round trip: outcome done, or the code of a refusal with its figures.';

create function bytes_claim_daily(
    p_guild_id varchar, p_interaction_id varchar, p_id uuid, p_starting_id uuid, p_now timestamptz,
    p_user_id varchar, p_username varchar, p_account_created timestamptz, p_bot_id varchar, p_bot_username varchar,
    out outcome text, out reward bigint, out streak integer, out balance bigint, out until timestamptz,
    out next_length integer, out next_multiplier integer
) language plpgsql as $$
declare
    config bytes_configs := bytes_config(p_guild_id);
    account bytes_balances;
    today date := (p_now at time zone 'UTC')::date;
    earliest timestamptz;
    said jsonb;
begin
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
            insert into processed_interactions (guild_id, interaction_id, part, outcome) values (
                p_guild_id, p_interaction_id, 'daily', jsonb_build_object('outcome', outcome, 'until', until)
            );
            return;
        end if;

        update bytes_balances b
        set balance = b.balance + reward,
            total_received = b.total_received + reward,
            last_daily = today,
            streak_count = bytes_claim_daily.streak
        where b.guild_id = p_guild_id and b.user_id = p_user_id
        returning b.balance into balance;
        insert into bytes_transactions (
            guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount,
            receiver_balance, streak, created_at
        ) values (
            p_guild_id, p_id, 'daily', p_bot_id, p_bot_username, p_user_id, p_username, reward, balance, streak, p_now
        );
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
