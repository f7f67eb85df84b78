#!lua flags=allow-oom
-- The figures of each queue: claimed and released jobs, whether it is paused, what happened in it so far, and for each
-- priority how many jobs are queued and how long the oldest of them has been (s; '' where there is none).
-- Its work grows with queues and ranks. A stale entry, of a job that a process of an earlier version claimed, is taken
-- away where it is met.
local MOST_STALE = 100

local function oldest_s(queue, from, to)
  for _ = 1, MOST_STALE do
    local id = redis.call('ZRANGEBYSCORE', key.queued(queue), from, to, 'LIMIT', 0, 1)[1]
    if not id then return '' end
    local status, created, replayed = unpack(redis.call('HMGET', key.job(id), 'status', 'created_at', 'replayed_at'))
    if status == 'queued' then return seconds(math.max(0, now() - tonumber(replayed or created))) end
    redis.call('ZREM', key.queued(queue), id)
  end
  return ''
end

local queues = {}
for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do
  local ranks = {}
  for _, priority in ipairs(args.priorities) do
    local rank = PRIORITY_RANK[priority]
    local front, from, to = ranked(rank - FRONT, 0), ranked(rank, 0), '(' .. ranked(rank + 1, 0)
    local oldest = oldest_s(queue, from, to)
    if oldest == '' then oldest = oldest_s(queue, front, to) end
    ranks[#ranks + 1] = {redis.call('ZCOUNT', key.queued(queue), front, to), oldest}
  end
  queues[#queues + 1] = {queue, redis.call('ZCARD', key.running(queue)), redis.call('ZCARD', key.line(queue)),
    redis.call('SISMEMBER', key.paused, queue), redis.call('HGETALL', key.figures(queue)), ranks}
end
return {queues, redis.call('ZCARD', key.dead), redis.call('ZCARD', key.jobs)}
