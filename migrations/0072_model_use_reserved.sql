-- What a trial has used and what is set aside for generations that run have to be read at one moment: between two statements one that ends
-- would be in neither. The view tells both. The index of 0070 served the second statement alone.
-- Room: access.

create or replace view model_use as
select account_id, model_id, last_at as at, 'download' as kind, sent_bytes, 0::bigint as tokens, false as is_running, '' as via,
    0::bigint as reserved_tokens
from download
where account_id is not null
union all
select account_id, model_id, started_at, 'generation', 0, prompt_tokens::bigint + completion_tokens, finished_at is null, via,
    case when finished_at is null then reserved_tokens else 0 end
from generation;
drop index generation_running_ix;
