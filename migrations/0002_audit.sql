-- What is worth remembering, on a record that nobody can quietly change.
-- Room: audit. A row is appended in the transaction of the change it tells of; the trigger refuses everything else.

create table audit_event (
    seq bigint generated always as identity constraint audit_event_pk primary key,
    at timestamptz not null,
    actor_id uuid,
    kind text not null,
    subject text not null,
    detail jsonb not null
);
create index audit_event_subject_ix on audit_event (subject, seq);
create index audit_event_actor_ix on audit_event (actor_id, seq);
create index audit_event_kind_ix on audit_event (kind, seq);

create function audit_event_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the audit record is append-only: % refused', tg_op using errcode = 'insufficient_privilege';
end
$$;
create trigger audit_event_append_only before update or delete on audit_event
    for each row execute function audit_event_is_append_only();
create trigger audit_event_no_truncate before truncate on audit_event
    for each statement execute function audit_event_is_append_only();
