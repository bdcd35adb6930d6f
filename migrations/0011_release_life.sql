-- The life of a release: yanked with a reason, and restored. What it is made of stays as it was published; only whether its bytes are
-- given changes. Where `main` was moved by a yank and not by a publication, a restored release may have it back.
-- Room: catalog.

alter table release
    add column yanked_at timestamptz,
    add column yank_reason text,
    add constraint release_yanked_ck check ((yanked_at is null) = (yank_reason is null)),
    add constraint release_yank_reason_ck check (length(yank_reason) between 1 and 300 and yank_reason !~ '[\x01-\x1f]');

alter table release_name add column moved_by_yank boolean not null default false;
