#!lua flags=allow-oom
-- Queues notifications again that were given up, as if for the first time; those that are put off are due now.
-- Answers for each job whether a notification is pending: 1, or 0. Repeating it gives the same answer, until they are sent.
local protocol, answers = args.protocol, {}
for at, id in ipairs(args.job_ids) do
  local is_given_up = redis.call('ZREM', key.given_up(protocol), id) == 1
  local is_put_off = redis.call('ZSCORE', key.late(protocol), id)
    and redis.call('HEXISTS', key.notifiers(protocol), id) == 0
  if (is_given_up or is_put_off) and redis.call('EXISTS', key.job(id)) == 1 then
    redis.call('ZADD', key.outbox(protocol), seconds(now()), id)
  end
  answers[at] = redis.call('ZSCORE', key.outbox(protocol), id) and 1 or 0
end
return answers
