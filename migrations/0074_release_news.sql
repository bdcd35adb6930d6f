-- Those who downloaded a model hear of its new release, once. Nobody is told of a release that was published before this.
-- Room: catalog.

alter table release add column news_told_at timestamptz;
update release set news_told_at = published_at where published_at is not null;
create index release_news_ix on release (published_at) where news_told_at is null;
