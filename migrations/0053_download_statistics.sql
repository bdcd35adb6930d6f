-- What was downloaded in a year, counted out of an index alone.
-- Room: downloads.

create index download_day_ix on download (day) include (model_id, sent_bytes, completed_at);
