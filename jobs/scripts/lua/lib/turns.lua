-- Where jobs stand that have not begun, and in which order they come. What releases jobs has the arguments `window`,
-- `look_after_s` and `look_lost_s`: see jobs/scripts/limits.py.

local RANK = 1e14  -- Rank in front, number behind it: 9 ranks × 10^14 numbers still are whole numbers in a double.

local function ranked(rank, number)
  return string.format('%.0f', rank * RANK + number)
end

local function rank_of(turn)
  return math.floor(tonumber(turn) / RANK)
end

-- The lists of jobs, in the order of their submission: everybody's, and the caller's own.
local function enlist(id, caller, number)
  for _, list in ipairs({key.jobs, key.jobs_of(caller)}) do redis.call('ZADD', list, 'NX', number, id) end
end

-- When to look whether the message of a released job is still there.
local function look_later(queue, id, after_s)
  local is_lost = tonumber(field(id, 'deliveries') or 0) > 0
  redis.call('ZADD', key.released(queue), seconds(now() + (is_lost and args.look_lost_s or after_s)), id)
end

-- Takes waiting jobs of one caller, best priority first, until its window is full; none of a paused queue. Returns
-- their ids; whoever ran the script sends their messages. These stand in one line with everybody's, whatever their
-- priority: that is for the caller's own jobs, and `claim` sees to it.
local function release(queue, caller)
  if is_paused(queue) then return {} end
  local open, ids = key.turns(queue, caller), {}
  local room = args.window - redis.call('ZCARD', open)
  if room <= 0 then return ids end
  local found = redis.call('ZPOPMIN', key.waiting(queue, caller), room)
  for at = 1, #found, 2 do
    local first, turn = found[at], found[at + 1]
    redis.call('ZADD', open, turn, first)
    look_later(queue, first, args.look_after_s)
    redis.call('ZADD', key.line(queue), ranked(LINE, next_number()), first)
    ids[#ids + 1] = first
  end
  if #found < 2 * room then redis.call('SREM', key.callers(queue), caller) end
  return ids
end

-- The best of a caller's queued jobs that has no turn yet, released or not, where it is of a better rank than `rank`.
local function better_than(rank, queue, caller)
  local best, best_turn
  for _, each in ipairs({key.turns(queue, caller), key.waiting(queue, caller)}) do
    local first, turn = unpack(redis.call('ZRANGE', each, 0, 0, 'WITHSCORES'))
    if first and rank_of(turn) < rank and (not best or tonumber(turn) < tonumber(best_turn)) then
      best, best_turn = first, turn
    end
  end
  return best
end

-- Gives a queued job the turn that another of its caller's had: its message goes where workers look first.
local function call_up(id, queue, caller)
  redis.call('ZREM', key.waiting(queue, caller), id)
  redis.call('ZADD', key.turns(queue, caller), ranked(CALLED, tonumber(field(id, 'turn')) % RANK), id)
  look_later(queue, id, args.look_after_s)
  redis.call('ZADD', key.line(queue), ranked(FIRST, next_number()), id)
end

-- Takes a queued job out of wherever it waits: in the table, or released and unclaimed.
local function withdraw(id, queue, caller)
  redis.call('ZREM', key.queued(queue), id)
  redis.call('ZREM', key.waiting(queue, caller), id)
  redis.call('ZREM', key.later(queue), id)
  redis.call('SREM', key.later_of(queue, caller), id)
  redis.call('ZREM', key.turns(queue, caller), id)
  redis.call('ZREM', key.released(queue), id)
  redis.call('ZREM', key.line(queue), id)
end

-- Puts a job where waiting jobs are, in the turn that it had from the first.
local function wait_in_turn(id, queue, caller)
  local turn = field(id, 'turn')
  redis.call('SADD', key.callers(queue), caller)
  redis.call('ZADD', key.waiting(queue, caller), turn, id)
  redis.call('ZADD', key.queued(queue), turn, id)
end

-- Jobs of a caller that are queued, in all queues: those in the table and those released and unclaimed. Counted where
-- they are, for a counter beside them could go astray.
local function count_queued(caller)
  local sum = 0
  for _, queue in ipairs(redis.call('SMEMBERS', key.queues)) do
    sum = sum + redis.call('ZCARD', key.waiting(queue, caller)) + redis.call('ZCARD', key.turns(queue, caller))
      + redis.call('SCARD', key.later_of(queue, caller))
  end
  return sum
end

-- When it is due that a job has expired while it waited, the reconciler ends it.
local function note_deadline(id)
  local due
  for _, moment in ipairs({field(id, 'start_by') or '', field(id, 'end_by') or ''}) do
    moment = tonumber(moment)
    if moment and (not due or moment < due) then due = moment end
  end
  if due then redis.call('ZADD', key.deadlines, seconds(due), id) end
end
