-- About where a job stands, and how fast its queue goes.

local PACE_MEMORY_S = 120  -- a queue's pace is that of about the last two minutes in which jobs waited for it

-- How fast a queue goes: jobs that ended, and the seconds in which they did, of which only those count in which released
-- jobs stood in line all the time. Both fade with these seconds, so that a rest changes nothing.
local function note_pace(queue)
  local pace, time = key.pace(queue), now()
  local ended, busy_s, last = unpack(redis.call('HMGET', pace, 'ended', 'busy_s', 'last'))
  local noted = {'last', seconds(time)}
  if last then
    local took = math.max(0, time - tonumber(last))
    local kept = math.exp(-took / PACE_MEMORY_S)
    noted[3], noted[4] = 'ended', string.format('%.6f', (tonumber(ended or 0)) * kept + 1)
    noted[5], noted[6] = 'busy_s', string.format('%.6f', (tonumber(busy_s or 0)) * kept + took)
  end
  local is_waited_for = redis.call('ZCARD', key.line(queue)) > 0
  if last or is_waited_for then redis.call('HSET', pace, unpack(noted)) end
  if last and not is_waited_for then redis.call('HDEL', pace, 'last') end
end

-- Where the first of a caller's messages stands in the line, of those that bring a turn: about, for only the first job
-- of each rank is looked at, and one that came back stands further behind. The line's end where there is none.
local function first_of(queue, caller)
  local line, from = key.line(queue), '-inf'
  local first = redis.call('ZCARD', line)
  while true do
    local id, turn = unpack(redis.call('ZRANGEBYSCORE', key.turns(queue, caller), from,
      '(' .. ranked(CALLED, 0), 'WITHSCORES', 'LIMIT', 0, 1))
    if not id then return first end
    first = math.min(first, redis.call('ZRANK', line, id) or first)
    from = ranked(rank_of(turn) + 1, 0)
  end
end

-- About how many jobs that wait now are released before a caller's job that waits behind `own` others of its caller's.
-- Exact for the first job of any caller, unless others come that go before it, or have the turn that one has after each
-- `window` of first jobs. Else it is an estimate: that in a round each caller who takes turns gets one job released, whatever
-- it costs.
local function released_before(queue, caller, own)
  local shares = key.shares(queue)
  local first, others = redis.call('ZRANK', shares, caller), redis.call('ZCARD', shares)
  if first then
    others = others - 1
  else  -- One that comes now.
    local is_new = redis.call('ZCARD', key.turns(queue, caller)) == 0
    first = redis.call('ZCOUNT', shares, '-inf', '(' .. ranked(is_new and BEGINS or 0, 0))
  end
  local theirs = redis.call('ZCARD', key.queued(queue)) - redis.call('ZCARD', key.line(queue))
    - redis.call('ZCARD', key.waiting(queue, caller))
  return own + math.max(0, math.min(first + own * others, theirs))
end

-- About how many jobs of a queue, of all callers, are taken before the one with this turn of this caller. `at` is how
-- many messages stand before its own; false where it has none yet. That is exact, unless jobs of its caller change
-- places: one of a better rank takes the turn of another. Else those of its caller's that go before it count, and with
-- each of them as many as the line holds for each of its caller's; behind the line, as `released_before` reckons.
local function jobs_before(queue, caller, turn, at)
  local open, waiting, rank = key.turns(queue, caller), key.waiting(queue, caller), rank_of(turn)
  local last = '(' .. ranked(CALLED, 0)
  local function own_before(bound)
    return redis.call('ZCOUNT', open, '-inf', '(' .. bound) + redis.call('ZCOUNT', waiting, '-inf', '(' .. bound)
  end
  local is_overtaken = own_before(ranked(rank, 0)) > 0
  if at and not is_overtaken and redis.call('ZCOUNT', open, ranked(rank + 1, 0), last) == 0 then return at end
  local line, turns = redis.call('ZCARD', key.line(queue)), redis.call('ZCOUNT', open, '-inf', last)
  local own = own_before(turn)
  if own >= turns then return line + released_before(queue, caller, own - turns) end
  local before = math.max(first_of(queue, caller) + own, math.floor(own * math.max(1, line / turns)))
  return at and not is_overtaken and math.min(at, before) or before
end

-- So many jobs before one, and what shows how long they take.
local function with_pace(queue, before)
  local ended, busy_s, last = unpack(redis.call('HMGET', key.pace(queue), 'ended', 'busy_s', 'last'))
  local is_paused = redis.call('SISMEMBER', key.paused, queue)
  return {before, is_paused, ended or '', busy_s or '', last or '', seconds(now())}
end
