-- The record becomes a Merkle log (RFC 6962): whoever edits, deletes, moves or inserts a row, or restores an older copy, is found out.
-- Room: audit. A leaf holds who, when, what and about whom; the detail, which may name people, lies beside it under a salted commitment, so
-- that it can be erased and every proof still holds. The database commits, whoever inserts: the trigger takes the detail out of the event.

-- What an event says beyond its leaf. Rows may be removed, to forget somebody; they are never changed.
create table audit_payload (
    seq bigint constraint audit_payload_pk primary key,
    salt bytea not null constraint audit_payload_salt_ck check (octet_length(salt) = 16),
    detail jsonb not null
);
create trigger audit_payload_is_never_changed before update on audit_payload
    for each row execute function audit_event_is_append_only();
create trigger audit_payload_no_truncate before truncate on audit_payload
    for each statement execute function audit_event_is_append_only();

-- Events that have no place in the log yet.
create table audit_pending (
    seq bigint constraint audit_pending_pk primary key
);

-- The places of events in the log, and their leaf hashes.
create table audit_leaf (
    index bigint constraint audit_leaf_pk primary key,
    seq bigint not null constraint audit_leaf_seq_uq unique,
    hash bytea not null constraint audit_leaf_hash_ck check (octet_length(hash) = 32)
);
create trigger audit_leaf_append_only before update or delete on audit_leaf
    for each row execute function audit_event_is_append_only();
create trigger audit_leaf_no_truncate before truncate on audit_leaf
    for each statement execute function audit_event_is_append_only();

-- What was recorded before.
alter table audit_event add column commitment bytea;
alter table audit_event alter column detail drop not null;
insert into audit_payload (seq, salt, detail) select seq, uuid_send(gen_random_uuid()), detail from audit_event;
insert into audit_pending (seq) select seq from audit_event;
alter table audit_event disable trigger audit_event_append_only;
update audit_event e set commitment = sha256(p.salt || convert_to(p.detail::text, 'UTF8')), detail = null
    from audit_payload p where p.seq = e.seq;
alter table audit_event enable trigger audit_event_append_only;
alter table audit_event alter column commitment set not null;
alter table audit_event add constraint audit_event_detail_ck check (detail is null);

create function audit_event_commits() returns trigger language plpgsql as $$
declare
    salt bytea := uuid_send(gen_random_uuid());
begin
    insert into audit_payload (seq, salt, detail) values (new.seq, salt, new.detail);
    insert into audit_pending (seq) values (new.seq);
    new.commitment := sha256(salt || convert_to(new.detail::text, 'UTF8'));
    new.detail := null;
    return new;
end
$$;
create trigger audit_event_commits before insert on audit_event
    for each row execute function audit_event_commits();

-- Searched by day and by person, too.
create index audit_event_at_ix on audit_event (at, seq);
