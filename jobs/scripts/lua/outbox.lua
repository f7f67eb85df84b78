#!lua flags=allow-oom
-- What is in the outbox of a protocol: notifications to be sent, those of them that failed so far, those that
-- were given up; for how long the first of them has been due, and for how long the oldest has been put off (s; '' where
-- there is none); and how often each thing happened.
-- An end that was given up is forgotten with the record of its job.
local protocol, time = args.protocol, now()
redis.call('ZREMRANGEBYSCORE', key.given_up(protocol), '-inf', seconds(time - args.retention_s))

local function age_of_first(set)
  local since = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')[2]
  return since and seconds(math.max(0, time - tonumber(since))) or ''
end

return {redis.call('ZCARD', key.outbox(protocol)), redis.call('ZCARD', key.late(protocol)),
  redis.call('ZCARD', key.given_up(protocol)), age_of_first(key.outbox(protocol)), age_of_first(key.late(protocol)),
  redis.call('HGETALL', key.notifications(protocol))}
