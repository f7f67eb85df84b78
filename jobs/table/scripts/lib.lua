-- Shared by all scripts of the job table; jobs/table/table.py puts it before each. Keys are those of jobs/names.py.

local EVENTS_MAX = 1000  -- of a job's stream
-- When to look whether the message of a released job is still there: for the first time, and from then on. A job that
-- lost its worker has waited already, and workers that die seldom die alone: its message is looked for sooner.
local LOOK_AFTER_S, LOOK_AGAIN_S = 5, 20
local LOST_LOOK_S = 1.5
local PACE_MEMORY_S = 120  -- a queue's pace is that of about the last two minutes in which jobs waited for it
local RANK = 1e14  -- Rank in front, number behind it: 9 ranks × 10^14 numbers still are whole numbers in a double.
local FIRST, LINE = 0, 3  -- Celery's priorities, and so lists of the broker: of what was called up, and of all else.
local CALLED = 9  -- In place of a rank, behind every one: of a job that has its turn, and needs no other's.

local function key(...)
  return 'imagemill:' .. table.concat({...}, ':')
end

-- Redis' clock decides, so that no two machines have to agree on the time. Seconds, to the microsecond.
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function seconds(value)
  return string.format('%.6f', value)
end

local function field(id, name)
  return redis.call('HGET', key('job', id), name)
end

-- An entry of the job's stream, and word of it to whoever listens now. Who was away reads the stream.
local function announce(id, kind, data)
  local text = cjson.encode(data)
  local entry = redis.call('XADD', key('events', id), 'MAXLEN', '~', EVENTS_MAX, '*', 'type', kind, 'data', text)
  redis.call('PUBLISH', key('news', id), entry .. ' ' .. kind .. ' ' .. text)
end

-- Numbers go up, and no two are alike: turns, and the order of submissions and releases.
local function next_number()
  return redis.call('INCR', key('turn'))
end

local function ranked(rank, number)
  return string.format('%.0f', rank * RANK + number)
end

local function rank_of(turn)
  return math.floor(tonumber(turn) / RANK)
end

-- The lists of jobs, in the order of their submission: everybody's, and the caller's own.
local function enlist(id, caller, number)
  for _, list in ipairs({key('jobs'), key('jobs', caller)}) do redis.call('ZADD', list, 'NX', number, id) end
end

local function look_later(queue, id, after_s)
  local is_lost = tonumber(field(id, 'deliveries') or 0) > 0
  redis.call('ZADD', key('released', queue), seconds(now() + (is_lost and LOST_LOOK_S or after_s)), id)
end

-- Takes waiting jobs of one caller, best priority first, until its window is full; none of a paused queue. Returns
-- their ids; whoever ran the script sends their messages. These stand in one line with everybody's, whatever their
-- priority: that is for the caller's own jobs, and `claim` sees to it.
local function release(queue, caller, window)
  if redis.call('SISMEMBER', key('paused'), queue) == 1 then return {} end
  local open = key('turns', queue, caller)
  local waiting = key('waiting', queue, caller)
  local ids = {}
  while redis.call('ZCARD', open) < window do
    local first, turn = unpack(redis.call('ZPOPMIN', waiting))
    if not first then
      redis.call('SREM', key('callers', queue), caller)
      break
    end
    redis.call('ZADD', open, turn, first)
    look_later(queue, first, LOOK_AFTER_S)
    redis.call('ZADD', key('line', queue), ranked(LINE, next_number()), first)
    ids[#ids + 1] = first
  end
  return ids
end

-- The best of a caller's queued jobs that has no turn yet, released or not, where it is of a better rank than `rank`.
local function better_than(rank, queue, caller)
  local best, best_turn
  for _, each in ipairs({key('turns', queue, caller), key('waiting', queue, caller)}) do
    local first, turn = unpack(redis.call('ZRANGE', each, 0, 0, 'WITHSCORES'))
    if first and rank_of(turn) < rank and (not best or tonumber(turn) < tonumber(best_turn)) then
      best, best_turn = first, turn
    end
  end
  return best
end

-- Gives a queued job the turn that another of its caller's had: its message goes where workers look first.
local function call_up(id, queue, caller)
  redis.call('ZREM', key('waiting', queue, caller), id)
  redis.call('ZADD', key('turns', queue, caller), ranked(CALLED, tonumber(field(id, 'turn')) % RANK), id)
  look_later(queue, id, LOOK_AFTER_S)
  redis.call('ZADD', key('line', queue), ranked(FIRST, next_number()), id)
end

-- What happened in a queue, counted for ever: where it is decided, so that each thing counts once.
local function count(queue, what)
  redis.call('HINCRBY', key('figures', queue), what, 1)
end

-- Takes a queued job out of wherever it waits: in the table, or released and unclaimed.
local function withdraw(id, queue, caller)
  redis.call('ZREM', key('queued', queue), id)
  redis.call('ZREM', key('waiting', queue, caller), id)
  redis.call('ZREM', key('turns', queue, caller), id)
  redis.call('ZREM', key('released', queue), id)
  redis.call('ZREM', key('line', queue), id)
end

-- Puts a job where waiting jobs are, in the turn that it had from the first.
local function wait_in_turn(id, queue, caller)
  local turn = field(id, 'turn')
  redis.call('SADD', key('callers', queue), caller)
  redis.call('ZADD', key('waiting', queue, caller), turn, id)
  redis.call('ZADD', key('queued', queue), turn, id)
end

-- Jobs of a caller that are queued, in all queues: those in the table and those released and unclaimed. Counted where
-- they are, for a counter beside them could go astray.
local function count_queued(caller)
  local count = 0
  for _, queue in ipairs(redis.call('SMEMBERS', key('queues'))) do
    count = count + redis.call('ZCARD', key('waiting', queue, caller)) + redis.call('ZCARD', key('turns', queue, caller))
  end
  return count
end

-- When it is due that a job has expired while it waited, the reconciler ends it.
local function note_deadline(id)
  local due
  for _, name in ipairs({'start_by', 'end_by'}) do
    local moment = tonumber(field(id, name) or nil)
    if moment and (not due or moment < due) then due = moment end
  end
  if due then redis.call('ZADD', key('deadlines'), seconds(due), id) end
end

-- The keys of a batch.
local function batch_keys(batch)
  return {key('batch', batch), key('batch_jobs', batch), key('batch_refused', batch)}
end

-- A batch expires as its last job does, and not while one of its jobs goes on.
local function keep_batch(batch)
  for _, each in ipairs(batch_keys(batch)) do redis.call('PERSIST', each) end
end

local function let_batch_expire(batch, retention)
  local queued, processing = unpack(redis.call('HMGET', key('batch', batch), 'queued', 'processing'))
  if tonumber(queued or 0) + tonumber(processing or 0) > 0 then return end
  for _, each in ipairs(batch_keys(batch)) do redis.call('EXPIRE', each, retention) end
end

-- Every change of a job's status, and so of the counts of its batch.
local function set_status(id, status)
  local job = key('job', id)
  local before, batch = unpack(redis.call('HMGET', job, 'status', 'batch'))
  redis.call('HSET', job, 'status', status)
  if not batch then return end
  if before then redis.call('HINCRBY', key('batch', batch), before, -1) end
  redis.call('HINCRBY', key('batch', batch), status, 1)
end

-- processing → queued. The attempt's token is cleared, so that whatever it still writes is refused.
local function take_back(id)
  local queue = field(id, 'queue')
  redis.call('ZREM', key('running', queue), id)
  redis.call('HDEL', key('job', id), 'token', 'owner', 'stage', 'step', 'steps', 'started_at')
  set_status(id, 'queued')
  wait_in_turn(id, queue, field(id, 'caller'))
  note_deadline(id)
  announce(id, 'status', {status = 'queued'})
end

-- An attempt that did no harm is not counted. Each is taken back once.
local function refund(id, token)
  if redis.call('HDEL', key('job', id), 'charge:' .. token) == 1 then
    redis.call('HINCRBY', key('job', id), 'attempts', -1)
  end
end

local function count_end(queue, status, fields)
  count(queue, status)
  for at = 1, status == 'failed' and #fields or 0, 2 do
    if fields[at] == 'error' and fields[at + 1] ~= '' then count(queue, 'failed:' .. cjson.decode(fields[at + 1]).code) end
  end
end

-- Writes the end of a job and tells those who wait. `fields` is a flat list of further hash fields.
local function conclude(id, status, fields, retention)
  local job = key('job', id)
  set_status(id, status)
  redis.call('HSET', job, 'ended_at', seconds(now()), unpack(fields))
  redis.call('ZREM', key('deadlines'), id)
  announce(id, 'completed', {status = status})
  redis.call('EXPIRE', job, retention)
  redis.call('EXPIRE', key('events', id), retention)
  redis.call('ZADD', key('expiring'), seconds(now() + tonumber(retention)), id .. ' ' .. field(id, 'caller'))
  local idempotency, batch, queue = unpack(redis.call('HMGET', job, 'idempotency', 'batch', 'queue'))
  count_end(queue, status, fields)
  if idempotency then redis.call('EXPIRE', idempotency, retention) end
  if batch then let_batch_expire(batch, retention) end
end

local function is_past(moment)
  return moment and moment ~= '' and now() > tonumber(moment)
end

local function expire_error(what)
  return cjson.encode({code = 'deadline_exceeded', message = 'the ' .. what .. ' passed before the job was done'})
end

-- How fast a queue goes: jobs that ended, and the seconds in which they did, of which only those count in which released
-- jobs stood in line all the time. Both fade with these seconds, so that a rest changes nothing.
local function note_pace(queue)
  local pace, time = key('pace', queue), now()
  local ended, busy_s, last = unpack(redis.call('HMGET', pace, 'ended', 'busy_s', 'last'))
  if last then
    local took = math.max(0, time - tonumber(last))
    local kept = math.exp(-took / PACE_MEMORY_S)
    redis.call('HSET', pace, 'ended', string.format('%.6f', (tonumber(ended or 0)) * kept + 1),
      'busy_s', string.format('%.6f', (tonumber(busy_s or 0)) * kept + took))
  end
  if redis.call('ZCARD', key('line', queue)) > 0 and redis.call('SISMEMBER', key('paused'), queue) == 0 then
    redis.call('HSET', pace, 'last', seconds(time))
  else
    redis.call('HDEL', pace, 'last')
  end
end

-- Where the first of a caller's messages stands in the line, of those that bring a turn: about, for only the first job
-- of each rank is looked at, and one that came back stands further behind. The line's end where there is none.
local function first_of(queue, caller)
  local line, from = key('line', queue), '-inf'
  local first = redis.call('ZCARD', line)
  while true do
    local id, turn = unpack(redis.call('ZRANGEBYSCORE', key('turns', queue, caller), from,
      '(' .. ranked(CALLED, 0), 'WITHSCORES', 'LIMIT', 0, 1))
    if not id then return first end
    first = math.min(first, redis.call('ZRANK', line, id) or first)
    from = ranked(rank_of(turn) + 1, 0)
  end
end

-- About how many jobs of a queue, of all callers, are taken before the one with this turn of this caller. `at` is how
-- many messages stand before its own; false where it has none yet. That is exact, unless jobs of its caller change
-- places: one of a better rank takes the turn of another. Else those of its caller's that go before it count, and with
-- each of them as many as the line holds for each of its caller's.
local function jobs_before(queue, caller, turn, at)
  local open, waiting, rank = key('turns', queue, caller), key('waiting', queue, caller), rank_of(turn)
  local last = '(' .. ranked(CALLED, 0)
  local function own_before(bound)
    return redis.call('ZCOUNT', open, '-inf', '(' .. bound) + redis.call('ZCOUNT', waiting, '-inf', '(' .. bound)
  end
  local is_overtaken = own_before(ranked(rank, 0)) > 0
  if at and not is_overtaken and redis.call('ZCOUNT', open, ranked(rank + 1, 0), last) == 0 then return at end
  local share = redis.call('ZCARD', key('line', queue)) / math.max(1, redis.call('ZCOUNT', open, '-inf', last))
  local own = own_before(turn)
  local before = math.max(first_of(queue, caller) + own, math.floor(own * math.max(1, share)))
  return at and not is_overtaken and math.min(at, before) or before
end
