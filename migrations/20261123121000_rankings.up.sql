-- The leaderboard of a guild of any size: who stands where, kept beside the accounts a few seconds behind them.
-- An index on the balance itself would make each transfer a third dearer.

create type bytes_scope as enum ('balance', 'received', 'streak');
comment on type bytes_scope is 'What a leaderboard compares.';

create table bytes_rankings (
    guild_id   snowflake   not null,
    scope      bytes_scope not null,
    user_id    snowflake   not null,
    place      bigint      not null,
    id_length  smallint    not null generated always as (length(user_id)) stored,
    ends_on    date,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint pk_bytes_rankings primary key (guild_id, scope, user_id),
    constraint ck_bytes_rankings_place check (place < 0)
);
comment on table bytes_rankings is 'Who has any of what a scope compares, and is in the guild.';
comment on column bytes_rankings.place is 'The value, negated: what is most comes first, then the smaller id.';
comment on column bytes_rankings.id_length is 'Ids of equal length compare as numbers.';
comment on column bytes_rankings.ends_on is 'The UTC day on which a streak is over unless it grows.';
create index ix_bytes_rankings_order on bytes_rankings (guild_id, scope, place, id_length, user_id);
comment on index ix_bytes_rankings_order is 'Serves bytes_ranking_page and bytes_ranked_above.';
create index ix_bytes_rankings_ends_on on bytes_rankings (ends_on, guild_id, user_id) where ends_on is not null;
comment on index ix_bytes_rankings_ends_on is 'Serves bytes::store::queue_ended_streaks.';
create trigger tr_bytes_rankings_updated_at before update on bytes_rankings
    for each row when (new.updated_at = old.updated_at) execute function touch_updated_at();

create table bytes_ranking_steps (
    guild_id   snowflake   not null,
    scope      bytes_scope not null,
    place      bigint      not null,
    id_length  smallint    not null,
    user_id    snowflake   not null,
    members    integer     not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint pk_bytes_ranking_steps primary key (guild_id, scope, place, id_length, user_id),
    constraint ck_bytes_ranking_steps_members check (members >= 0)
)
with (fillfactor = 50);
comment on table bytes_ranking_steps is
    'How many of bytes_rankings stand from one key to the next: a rank is a sum of some hundred steps and a count within one.';
create trigger tr_bytes_ranking_steps_updated_at before update on bytes_ranking_steps
    for each row when (new.updated_at = old.updated_at) execute function touch_updated_at();

create function bytes_rebuild_steps(p_guild_id varchar, p_scope bytes_scope) returns void language plpgsql as $$
begin
    delete from bytes_ranking_steps where guild_id = p_guild_id and scope = p_scope;
    insert into bytes_ranking_steps (guild_id, scope, place, id_length, user_id, members)
    select p_guild_id, p_scope, -9223372036854775807, 0, '0', 0;
    with numbered as (
        select r.place, r.id_length, r.user_id,
            row_number() over (order by r.place, r.id_length, r.user_id) - 1 as n, count(*) over () as total
        from bytes_rankings r
        where r.guild_id = p_guild_id and r.scope = p_scope
    )
    insert into bytes_ranking_steps (guild_id, scope, place, id_length, user_id, members)
    select p_guild_id, p_scope, place, id_length, user_id, least(1500, total - n)
    from numbered
    where n % 1500 = 0;
end
$$;
comment on function bytes_rebuild_steps is 'Makes a scope''s steps anew, 1500 members each. The caller holds the guild''s ranking lock.';

create function bytes_rank(p_guild_id varchar, p_today date, p_most integer) returns integer
language plpgsql
-- The planner would plan each round anew, for it can't tell the arrays' sizes.
set plan_cache_mode = force_generic_plan
as $$
declare
    users varchar[];
    scopes bytes_scope[];
    changed varchar[];
    old_places bigint[];
    new_places bigint[];
    new_ends date[];
    step record;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('bytes_rank ' || p_guild_id, 0)) then
        return 0;
    end if;
    with taken as (
        delete from bytes_unranked u
        where u.guild_id = p_guild_id and u.user_id in (
            select q.user_id from bytes_unranked q
            where q.guild_id = p_guild_id
            order by q.user_id
            limit p_most
            for update skip locked
        )
        returning u.user_id
    )
    select array_agg(t.user_id) into users from taken t;
    if users is null then
        return 0;
    end if;

    -- A statement of its own: it sees every change whose row was taken.
    select array_agg(c.scope), array_agg(c.user_id), array_agg(c.old_place), array_agg(c.new_place), array_agg(c.ends_on)
    into scopes, changed, old_places, new_places, new_ends
    from (
        select
            coalesce(now.scope, was.scope) as scope, coalesce(now.user_id, was.user_id) as user_id,
            was.place as old_place, now.place as new_place, now.ends_on
        from (
            select v.scope, b.user_id, -v.value as place, v.ends_on
            from bytes_balances b
            cross join lateral (
                values
                    ('balance'::bytes_scope, b.balance, null::date),
                    ('received', b.total_received, null),
                    ('streak', case when b.last_daily >= p_today - 1 then b.streak_count else 0 end, b.last_daily + 2)
            ) as v (scope, value, ends_on)
            where b.guild_id = p_guild_id and b.user_id = any (users) and b.left_at is null and v.value > 0
        ) as now
        full join (
            select r.scope, r.user_id, r.place, r.ends_on
            from bytes_rankings r
            where r.guild_id = p_guild_id and r.scope = any (enum_range(null::bytes_scope)) and r.user_id = any (users)
        ) as was on was.scope = now.scope and was.user_id = now.user_id
        where (was.place, was.ends_on) is distinct from (now.place, now.ends_on)
    ) as c;
    if scopes is null then
        return cardinality(users);
    end if;

    delete from bytes_rankings r
    using unnest(scopes, changed, new_places) as c (scope, user_id, place)
    where c.place is null and r.guild_id = p_guild_id and r.scope = c.scope and r.user_id = c.user_id;
    insert into bytes_rankings (guild_id, scope, user_id, place, ends_on)
    select p_guild_id, c.scope, c.user_id, c.place, c.ends_on
    from unnest(scopes, changed, new_places, new_ends) as c (scope, user_id, place, ends_on)
    where c.place is not null
    on conflict (guild_id, scope, user_id) do update set place = excluded.place, ends_on = excluded.ends_on, updated_at = now();

    insert into bytes_ranking_steps (guild_id, scope, place, id_length, user_id, members)
    select distinct p_guild_id::snowflake, c.scope, -9223372036854775807, 0, '0', 0
    from unnest(scopes) as c (scope)
    on conflict do nothing;
    update bytes_ranking_steps s
    set members = s.members + d.members, updated_at = now()
    from (
        select moved.scope, at.place, at.id_length, at.user_id, sum(moved.members) as members
        from (
            select c.scope, c.place, c.user_id, -1 as members
            from unnest(scopes, old_places, changed) as c (scope, place, user_id) where c.place is not null
            union all
            select c.scope, c.place, c.user_id, 1
            from unnest(scopes, new_places, changed) as c (scope, place, user_id) where c.place is not null
        ) as moved
        cross join lateral (
            select k.place, k.id_length, k.user_id
            from bytes_ranking_steps k
            where k.guild_id = p_guild_id and k.scope = moved.scope
                and (k.place, k.id_length, k.user_id) <= (moved.place, length(moved.user_id), moved.user_id)
            order by k.place desc, k.id_length desc, k.user_id desc
            limit 1
        ) as at
        group by moved.scope, at.place, at.id_length, at.user_id
        having sum(moved.members) <> 0
    ) as d
    where s.guild_id = p_guild_id and s.scope = d.scope
        and (s.place, s.id_length, s.user_id) = (d.place, d.id_length, d.user_id);

    -- Who leaves an empty step joins the one before; who makes one too long divides it.
    delete from bytes_ranking_steps s where s.guild_id = p_guild_id and s.members = 0 and s.id_length > 0;
    for step in
        select s.* from bytes_ranking_steps s where s.guild_id = p_guild_id and s.members > 3000
    loop
        with numbered as (
            select r.*, row_number() over (order by r.place, r.id_length, r.user_id) - 1 as n
            from (
                select k.place, k.id_length, k.user_id
                from bytes_rankings k
                where k.guild_id = p_guild_id and k.scope = step.scope
                    and (k.place, k.id_length, k.user_id) >= (step.place, step.id_length, step.user_id)
                order by k.place, k.id_length, k.user_id
                limit step.members
            ) as r
        )
        insert into bytes_ranking_steps (guild_id, scope, place, id_length, user_id, members)
        select p_guild_id, step.scope, n.place, n.id_length, n.user_id, least(1500, step.members - n.n)
        from numbered n
        where n.n > 0 and n.n % 1500 = 0;
        update bytes_ranking_steps s set members = 1500
        where s.guild_id = p_guild_id and s.scope = step.scope
            and (s.place, s.id_length, s.user_id) = (step.place, step.id_length, step.user_id);
    end loop;
    -- Many short steps are left where members moved on.
    for step in
        select s.scope from bytes_ranking_steps s
        where s.guild_id = p_guild_id
        group by s.scope
        having count(*) > 32 + sum(s.members) / 250
    loop
        perform bytes_rebuild_steps(p_guild_id, step.scope);
    end loop;
    return cardinality(users);
end
$$;
comment on function bytes_rank is
    'Ranks at most so many of a guild''s changed accounts, streaks as they stand on a UTC day; how many it took. 0 when another process is at it.';

create function bytes_ranked_above(p_guild_id varchar, p_scope bytes_scope, p_value bigint) returns bigint
language plpgsql stable as $$
declare
    step record;
    above bigint;
    within bigint;
begin
    select s.place, s.id_length, s.user_id, s.members into step
    from bytes_ranking_steps s
    where s.guild_id = p_guild_id and s.scope = p_scope and (s.place, s.id_length, s.user_id) <= (-p_value, 0::smallint, '0')
    order by s.place desc, s.id_length desc, s.user_id desc
    limit 1;
    if not found then
        return 0;
    end if;
    select coalesce(sum(s.members), 0) into above
    from bytes_ranking_steps s
    where s.guild_id = p_guild_id and s.scope = p_scope
        and (s.place, s.id_length, s.user_id) < (step.place, step.id_length, step.user_id);
    -- Ordered and limited, or the planner, which can't tell how few these are, reads the table.
    select count(*) into within
    from (
        select
        from bytes_rankings r
        where r.guild_id = p_guild_id and r.scope = p_scope
            and (r.place, r.id_length, r.user_id) >= (step.place, step.id_length, step.user_id)
            and r.place < -p_value
        order by r.place, r.id_length, r.user_id
        limit step.members
    ) as counted;
    return above + within;
end
$$;
comment on function bytes_ranked_above is 'How many members have more than that.';

create function bytes_ranking_page(p_guild_id varchar, p_scope bytes_scope, p_offset bigint, p_limit integer)
returns table (user_id varchar, value bigint) language plpgsql stable as $$
#variable_conflict use_column
declare
    step record;
begin
    select s.place, s.id_length, s.user_id, s.before into step
    from (
        select k.place, k.id_length, k.user_id, k.members,
            sum(k.members) over (order by k.place, k.id_length, k.user_id) - k.members as before
        from bytes_ranking_steps k
        where k.guild_id = p_guild_id and k.scope = p_scope
    ) as s
    where s.before + s.members > p_offset
    limit 1;
    if not found then
        return;
    end if;
    return query
        select r.user_id::varchar, -r.place
        from bytes_rankings r
        where r.guild_id = p_guild_id and r.scope = p_scope
            and (r.place, r.id_length, r.user_id) >= (step.place, step.id_length, step.user_id)
        order by r.place, r.id_length, r.user_id
        offset p_offset - step.before
        limit p_limit;
end
$$;
comment on function bytes_ranking_page is 'The members from the offset on, who has most first, equal values in the order of ids.';
