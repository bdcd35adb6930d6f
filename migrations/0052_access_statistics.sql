-- What happened in a year is counted out of indexes alone, so that a hundred thousand applications with all their answers need not be read.
-- Room: access.

create index application_sent_ix on application (submitted_at) include (model_id) where submitted_at is not null;
create index application_closed_ix on application (closed_at)
    include (model_id, state, decline_code, submitted_at, due_at, decided_by) where closed_at is not null;
