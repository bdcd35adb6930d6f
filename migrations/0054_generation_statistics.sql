-- What was generated in a year, counted out of an index alone.
-- Room: playground.

create index generation_started_ix on generation (started_at) include (model_id, prompt_tokens, completion_tokens);
