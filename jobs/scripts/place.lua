#!lua flags=no-writes
-- About how many jobs of its queue, of all callers, are taken before a queued job, and the queue's pace.
-- A released one has its place in the line. Before one that waits go those in the line with its priority or a better
-- one, and then, for each of its caller's that waits before it, as many as the line holds for each of its caller's: so
-- many go by until one of them is released.
local id = ARGV[1]
if field(id, 'status') ~= 'queued' then return {} end
local queue, caller = field(id, 'queue'), field(id, 'caller')
local line, waiting = key('line', queue), key('waiting', queue, caller)
local before = redis.call('ZRANK', line, id)
if not before then
  local rank = redis.call('ZRANK', waiting, id)
  if not rank then return {} end
  local next_rank = rank_of(redis.call('ZSCORE', waiting, id)) + 1
  local share = redis.call('ZCARD', line) / math.max(1, redis.call('SCARD', key('window', queue, caller)))
  before = redis.call('ZCOUNT', line, '-inf', '(' .. ranked(next_rank, 0)) + math.floor(rank * math.max(1, share))
end
local ended, busy_s, last = unpack(redis.call('HMGET', key('pace', queue), 'ended', 'busy_s', 'last'))
return {before, redis.call('SISMEMBER', key('paused'), queue), ended or '', busy_s or '', last or '', seconds(now())}
