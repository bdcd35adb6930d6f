-- A portal that has been busy for years: :applications applications of as many accounts, 2 % of them open, with what was sent, agreed to
-- and said, the grants of those approved, and 30 events of each on the record.
begin;
create temporary table maker as
    select n, gen_random_uuid() as account, gen_random_uuid() as application,
        now() - interval '3 years' + n * interval '3 years' / :applications as sent_at,
        case when n > :applications * 0.98 then case when n % 10 = 0 then 'changes_requested' else 'submitted' end
            when n % 10 < 6 then 'approved' when n % 10 < 9 then 'declined' else 'withdrawn' end as state
    from generate_series(1, :applications) n;
create temporary table reviewer as select n, gen_random_uuid() as account from generate_series(0, 19) n;

insert into account (id, email, name, role, email_verified_at, created_at)
    select account, 'reviewer' || n || '@lab.example', 'Reviewer ' || n, 'reviewer', now(), now() - interval '4 years' from reviewer;
insert into account (id, email, name, role, email_verified_at, created_at)
    values (gen_random_uuid(), 'root@lab.example', 'Root', 'admin', now(), now() - interval '4 years');
insert into account (id, email, name, role, email_verified_at, created_at)
    select account, 'person' || n || '@institute' || n % 997 || '.example', 'Person ' || n, 'researcher', sent_at, sent_at from maker;

insert into application (id, account_id, model_id, version, answers, form_sha256, state, created_at, updated_at, submitted_at, due_at,
        claimed_by, claimed_at, changes_by, changes_at, changes_text, changes_fields, closed_at, decided_by, decline_code, decision_text,
        found_by)
    select m.application, m.account, (select id from model where gate = 'application' limit 1), 3,
        jsonb_build_object('title', 'Question ' || m.n || ' about negation', 'organisation', 'Institute ' || m.n % 997, 'role', 'academic',
            'country', 'IT', 'months', '6', 'areas', 'interpretability', 'uses_evaluation', 'on', 'capacity', 'self',
            'summary', repeat('We ask how errors on negated statements change with the size of the model. ', 20),
            'lay_summary', repeat('Language models overlook the word not. ', 8), 'security_contact', 'security@institute.example'),
        (select sha256 from form limit 1), m.state, m.sent_at, m.sent_at + interval '4 days', m.sent_at,
        m.sent_at + interval '7 days',
        case when m.state = 'submitted' and m.n % 3 = 0 then r.account end, case when m.state = 'submitted' and m.n % 3 = 0 then m.sent_at end,
        case when m.state = 'changes_requested' then r.account end, case when m.state = 'changes_requested' then now() end,
        case when m.state = 'changes_requested' then 'Which data?' end, case when m.state = 'changes_requested' then '{summary}'::text[] end,
        case when m.state in ('approved', 'declined', 'withdrawn') then m.sent_at + m.n % 9 * interval '1 day' end,
        case when m.state in ('approved', 'declined') then r.account end,
        case when m.state = 'declined' then 'purpose_unclear' end, case when m.state in ('approved', 'declined') then 'Good luck.' end,
        to_tsvector('simple', 'question ' || m.n || ' about negation institute ' || m.n % 997 || ' person ' || m.n)
    from maker m join reviewer r on r.n = m.n % 20;
insert into application_sending (application_id, number, answers, sent_at)
    select a.id, 1, a.answers, a.submitted_at from application a join maker m on m.application = a.id;
insert into attestation (application_id, clause, wording, attested_at)
    select application, 'clause-' || c, 'What was agreed to, word for word, as it stood on the form.', sent_at
    from maker, generate_series(1, 14) c;
insert into application_comment (id, application_id, author_id, lane, kind, body, written_at)
    select gen_random_uuid(), m.application, case when c % 2 = 0 then r.account else m.account end,
        case when c = 4 then 'internal' else 'shared' end, 'comment', repeat('Which data do you use, and how is it kept? ', 3),
        m.sent_at + c * interval '1 hour'
    from maker m join reviewer r on r.n = m.n % 20, generate_series(1, 4) c;
insert into access_grant (id, account_id, model_id, application_id, granted_by, reason, granted_at, expires_at)
    select gen_random_uuid(), m.account, a.model_id, a.id, a.decided_by, 'application', a.closed_at, now() + m.n % 360 * interval '1 day' + interval '1 day'
    from maker m join application a on a.id = m.application where m.state = 'approved';
insert into mail (id, kind, recipient, subject, body, created_at, next_attempt_at, attempts, sent_at)
    select gen_random_uuid(), 'application_to_review', 'reviewer' || m.n % 20 || '@lab.example', 'A new application', null, m.sent_at, m.sent_at, 1, m.sent_at
    from maker m, generate_series(1, 3);
insert into audit_event (at, actor_id, kind, subject, detail)
    select m.sent_at + e * interval '1 hour', m.account, case e % 3 when 0 then 'application.submitted' when 1 then 'application.claimed' else 'application.comment_written' end,
        'application_' || m.n, jsonb_build_object('lane', 'shared')
    from maker m, generate_series(1, 30) e;
commit;
vacuum analyze;
