-- Whoever waits for longer than was promised is told so, once for an application. Room: access.

alter table application add column overdue_told_at timestamptz;
create index application_untold_ix on application (due_at, id) where state = 'submitted' and overdue_told_at is null;
