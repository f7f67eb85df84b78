#!lua flags=allow-oom
-- The figures of each queue: claimed and released jobs, those that wait for their time, whether it is paused, what happened
-- in it so far, and for each priority how many jobs are queued and how long the oldest of them has been (s; '' where there
-- is none). Then the dead, all jobs, and the first tags of messages from outside that a worker has taken.
-- Its work grows with queues and ranks. A stale entry, of a job that a process of an earlier version claimed, is taken
-- away where it is met.
local MOST_STALE, MOST_HELD = 100, 1000

-- Who was to wait for its time is queued since then.
local function queued_since(created, replayed, not_before)
  return math.max(tonumber(replayed or created), tonumber(not_before or 0))
end

local function oldest_s(queue, from, to)
  for _ = 1, MOST_STALE do
    local id = redis.call('ZRANGEBYSCORE', key.queued(queue), from, to, 'LIMIT', 0, 1)[1]
    if not id then return '' end
    local status, created, replayed, not_before = unpack(redis.call('HMGET', key.job(id), 'status', 'created_at',
      'replayed_at', 'not_before'))
    if status == 'queued' then
      return seconds(math.max(0, now() - queued_since(created, replayed, not_before)))
    end
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
    redis.call('ZCARD', key.later(queue)), redis.call('SISMEMBER', key.paused, queue),
    redis.call('HGETALL', key.figures(queue)), ranks}
end
return {queues, redis.call('ZCARD', key.dead), redis.call('ZCARD', key.jobs),
  redis.call('ZRANGE', key.held_until, 0, MOST_HELD - 1)}
