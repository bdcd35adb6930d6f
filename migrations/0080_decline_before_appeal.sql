-- An appealed application remembers when it was declined, so that a withdrawal or a lapse after the appeal is no way round the time that
-- somebody who was declined waits before applying again. An appeal of before has none: its own time, which came later, stands for it.
-- Room: access.

alter table application add column appealed_decline_at timestamptz;
alter table application add constraint application_appealed_decline_ck check (appealed_decline_at is null or appealed_decline_at <= appealed_at);
