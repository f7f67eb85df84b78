#!lua flags=no-writes
-- Jobs whose messages are to be sent: whether each goes where workers look first, and what its message is made of.
-- Nothing of a job that is not released (any more): it needs none.
local answers = {}
for at, id in ipairs(args.job_ids) do
  local message = message_of(id)
  local queue = by_name(message).queue
  local place = queue and redis.call('ZSCORE', key.line(queue), id)
  answers[at] = place and {rank_of(place) == FIRST and 1 or 0, message} or {}
end
return answers
