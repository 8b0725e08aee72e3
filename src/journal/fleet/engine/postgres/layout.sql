-- What a fleet needs of a database. Run once, in one transaction.

create schema if not exists patrold;

-- Revisions of keys, and ids of leases. A key is locked before its revision is drawn, so that they rise with each key.
create sequence if not exists patrold.revision;

create table if not exists patrold.leases (
    id    bigint primary key,
    lasts interval not null,
    ends  timestamptz not null
);

create table if not exists patrold.keys (
    key      text collate "C" primary key,
    value    bytea not null,
    created  bigint not null,
    modified bigint not null,
    -- 0: it ends with no lease.
    lease    bigint not null default 0
) with (fillfactor = 80);

create index if not exists keys_by_lease on patrold.keys (lease) where lease <> 0;

-- Whoever writes this, and has been answered, knows that what was written before is durable.
create table if not exists patrold.post (
    lone   boolean primary key default true check (lone),
    passed bigint not null
);

insert into patrold.post (passed) values (0) on conflict do nothing;

create or replace view patrold.live as
    select k.key, k.value, k.created, k.modified from patrold.keys k
    where k.lease = 0 or exists (select from patrold.leases l where l.id = k.lease and l.ends > clock_timestamp());

-- What a session says of this has no say: an answer must mean that the commit is durable.
create or replace function patrold.durably() returns void language plpgsql set search_path = pg_catalog as $$
begin
    if current_setting('synchronous_commit') not in ('on', 'remote_apply') then
        perform set_config('synchronous_commit', 'on', true);
    end if;
end $$;

-- Puts and removes keys where every condition holds: `held`. Else tells what is at the keys of `otherwise`.
create or replace function patrold.transact(
    compared text[], by_creation boolean[], expected bigint[],
    put text[], contents bytea[], holders bigint[],
    removed text[], range_from text[], range_to text[],
    otherwise text[]
) returns table (held boolean, revision bigint, place bigint, key text, value bytea, created bigint, modified bigint)
language plpgsql set search_path = pg_catalog as $$
#variable_conflict use_column
declare
    drawn bigint;
    latch record;
begin
    perform patrold.durably();
    -- In one order, so that no two wait for each other. Who only reads shares.
    for latch in
        select hashtextextended(c.key, 0) as id, bool_or(c.key = any (put) or c.key = any (removed)) as alone
        from unnest(compared) as c (key) group by 1 order by 1
    loop
        if latch.alone then
            perform pg_advisory_xact_lock(latch.id);
        else
            perform pg_advisory_xact_lock_shared(latch.id);
        end if;
    end loop;
    -- A statement of its own: it sees what was done before the locks were given.
    if exists (
        select from unnest(compared, by_creation, expected) as c (key, by_creation, expected)
        left join patrold.live k on k.key = c.key
        where coalesce(case when c.by_creation then k.created else k.modified end, 0) <> c.expected
    ) then
        -- What is told is durable, too.
        update patrold.post set passed = passed + 1;
        return query
            select false, 0::bigint, o.place, k.key, k.value, k.created, k.modified
            from unnest(otherwise) with ordinality as o (key, place) left join patrold.live k on k.key = o.key;
        if not found then
            return query select false, 0::bigint, 0::bigint, null::text, null::bytea, 0::bigint, 0::bigint;
        end if;
        return;
    end if;
    if exists (
        select from unnest(holders) as h (lease)
        where h.lease <> 0
            and not exists (select from patrold.leases l where l.id = h.lease and l.ends > clock_timestamp())
    ) then
        raise exception 'the lease has ended' using errcode = 'PL001';
    end if;
    drawn := nextval('patrold.revision');
    delete from patrold.keys k using unnest(range_from, range_to) as r (first, beyond)
        where k.key >= r.first and k.key < r.beyond;
    delete from patrold.keys k where k.key = any (removed);
    insert into patrold.keys as k (key, value, created, modified, lease)
        select p.key, p.contents, drawn, drawn, p.lease from unnest(put, contents, holders) as p (key, contents, lease)
        on conflict (key) do update set
            value = excluded.value,
            modified = excluded.modified,
            lease = excluded.lease,
            -- What has ended makes room.
            created = case
                when k.lease = 0 or exists (select from patrold.leases l where l.id = k.lease and l.ends > clock_timestamp())
                then k.created else excluded.created
            end;
    return query select true, drawn, 0::bigint, null::text, null::bytea, 0::bigint, 0::bigint;
end $$;

create or replace function patrold.pass() returns void language plpgsql set search_path = pg_catalog as $$
begin
    perform patrold.durably();
    update patrold.post set passed = passed + 1;
end $$;

create or replace function patrold.lend(seconds double precision) returns bigint
language plpgsql set search_path = pg_catalog as $$
declare
    granted bigint := nextval('patrold.revision');
begin
    perform patrold.durably();
    insert into patrold.leases
        values (granted, make_interval(secs => seconds), clock_timestamp() + make_interval(secs => seconds));
    return granted;
end $$;

-- False: it has ended.
create or replace function patrold.keep(lease bigint) returns boolean language plpgsql set search_path = pg_catalog as $$
begin
    perform patrold.durably();
    update patrold.leases l set ends = clock_timestamp() + l.lasts where l.id = keep.lease and l.ends > clock_timestamp();
    return found;
end $$;

create or replace function patrold.end_lease(lease bigint) returns void
language plpgsql set search_path = pg_catalog as $$
begin
    perform patrold.durably();
    delete from patrold.leases l where l.id = end_lease.lease;
    delete from patrold.keys k where k.lease <> 0 and k.lease = end_lease.lease;
end $$;

-- Removes what depended on leases that have ended. In how many seconds the next one ends unless it is kept; null: there is
-- none.
create or replace function patrold.sweep() returns double precision
language plpgsql set search_path = pg_catalog as $$
begin
    with ended as (
        delete from patrold.leases where id in (
            select l.id from patrold.leases l where l.ends < clock_timestamp() for update skip locked
        ) returning id
    )
    delete from patrold.keys k using ended where k.lease <> 0 and k.lease = ended.id;
    return (select extract(epoch from min(l.ends) - clock_timestamp()) from patrold.leases l);
end $$;
