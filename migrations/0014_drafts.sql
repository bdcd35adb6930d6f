-- Drafts: a release without `published_at` is stored, verified and signed, and admins alone see it. No name leads to it, and it cannot be
-- yanked. Discarded, it goes as a whole, so that the objects that no other release needs may go.
-- Room: catalog.

alter table release
    alter column published_at drop not null,
    add column drafted_at timestamptz,
    add constraint release_drafted_ck check (published_at is not null or (drafted_at is not null and yanked_at is null));
