-- A detail that is missing from the record is a fault of it from now on, unless an event on the record says that it was erased. Erasures of
-- before said no such thing: what is missing at this moment is told by events of this one step, about the record as a whole.
-- Room: audit.
insert into audit_event (at, kind, subject, detail)
select now(), 'record.details_erased', 'record', jsonb_build_object('events', jsonb_agg(seq order by seq))
from (
    select seq, (row_number() over (order by seq) - 1) / 200 as part
    from audit_event e
    where not exists (select from audit_payload p where p.seq = e.seq)
) missing
group by part
order by part;
