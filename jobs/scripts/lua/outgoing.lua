#!lua flags=no-writes
-- Jobs whose messages are to be sent: whether each goes where workers look first, and its record. Nothing of a job that
-- is not released (any more): it needs none.
local answers = {}
for at, id in ipairs(args.job_ids) do
  local queue = field(id, 'queue')
  local place = queue and redis.call('ZSCORE', key.line(queue), id)
  answers[at] = place and {rank_of(place) == FIRST and 1 or 0, redis.call('HGETALL', key.job(id))} or {}
end
return answers
