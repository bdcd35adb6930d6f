-- An appeal puts the decline that it is against into the thread, or nobody could read it any more: its code stands among the fields.
-- Room: access.

alter table application_comment drop constraint application_comment_kind_ck;
alter table application_comment add constraint application_comment_kind_ck check (kind in ('comment', 'changes', 'decline', 'appeal'));
