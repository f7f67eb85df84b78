-- Where jobs stand that have not begun, and in which order they come. What releases jobs has the arguments `window`,
-- `look_after_s` and `look_lost_s`: see jobs/scripts/limits.py.

local AT_ONCE = 256  -- jobs that one script releases at most, however many slots there are; the next one goes on

-- The lists of jobs, in the order of their submission: everybody's, and the caller's own.
local function enlist(id, caller, number)
  for _, list in ipairs({key.jobs, key.jobs_of(caller)}) do redis.call('ZADD', list, 'NX', number, id) end
end

-- When to look whether the message of a released job is still there.
local function look_later(queue, id, after_s)
  local is_lost = tonumber(field(id, 'deliveries') or 0) > 0
  redis.call('ZADD', key.released(queue), seconds(now() + (is_lost and args.look_lost_s or after_s)), id)
end

-- Whether a process of a version that has no turns puts things right: then its workers may be all that there are, and
-- these release, when they claim, only what the same caller has.
local function is_older_in_charge()
  local holder = holders[1]
  if holder == nil then holder = redis.call('GET', key.reconciler) end
  return holder and tonumber(string.match(holder, '^(%d+)%-') or 0) < RECONCILER_VERSION
end

-- How many more messages of all callers may stand in Celery. Those that a version without turns sent do not count.
local function room_in(queue)
  local slots, paused = state_of(queue)
  if paused then return 0 end
  local standing = redis.call('ZCOUNT', key.line(queue), '-inf', '(' .. ranked(LINE, 0))
  return math.max(args.window, 2 * slots) - standing
end

-- Releases a job: the script's caller sends its message. All stand in one line, whatever their priority: that is for
-- the caller's own jobs, and `claim` sees to it. `number` is its place there, where the script has drawn one.
local function hand_out(id, queue, caller, turn, rank, deliveries, number)
  local look_at = now() + (deliveries > 0 and args.look_lost_s or args.look_after_s)
  redis.call('ZADD', key.turns(queue, caller), turn, id)
  redis.call('ZADD', key.released(queue), seconds(look_at), id)
  redis.call('ZADD', key.line(queue), ranked(rank, number or next_number()), id)
end

-- Releases jobs of one caller as a version without turns does, so that its workers find the next ones.
local function release_of(queue, caller)
  local ids = {}
  while redis.call('ZCARD', key.turns(queue, caller)) < args.window do
    local id, turn = unpack(redis.call('ZRANGE', key.waiting(queue, caller), 0, 0, 'WITHSCORES'))
    if not id then break end
    take_out(id, queue, caller)
    local cost, deliveries = price_of(id, queue)
    if cost then
      redis.call('HSET', key.job(id), 'unpaid', 1)
      hand_out(id, queue, caller, turn, LINE, deliveries)
      ids[#ids + 1] = id
    end
  end
  return ids
end

-- The same where such a version is in charge, and nothing where this one is.
local function release_beside_older(queue, caller)
  return is_older_in_charge() and not is_paused(queue) and release_of(queue, caller) or {}
end

-- Releases waiting jobs in turn, as far as there is room. Returns their ids. `caller` is the one whose job it is about;
-- `room` is how much there is, where it is known, and that somebody waits.
local function release(queue, caller, room)
  local ids, first, had = {}, nil, nil
  if not room then
    first, had = first_in_turn(queue)
    if not first then return ids end
    room = room_in(queue)
  end
  for _ = 1, math.min(room, AT_ONCE) do
    local id, turn, whose, deliveries = next_in_turn(queue, first, had)
    first = nil
    if not id then break end
    hand_out(id, queue, whose, turn, TURN, deliveries)
    ids[#ids + 1] = id
  end
  if room <= 0 and caller then return release_beside_older(queue, caller) end
  return ids
end

-- The first of an ordered set of jobs, with its turn; what is not queued (any more) is taken out of it.
local function first_queued(set)
  while true do
    local id, turn = unpack(redis.call('ZRANGE', set, 0, 0, 'WITHSCORES'))
    if not id or field(id, 'status') == 'queued' then return id, turn end
    redis.call('ZREM', set, id)
  end
end

-- The best of a caller's queued jobs that has no turn yet, released or not, where it is of a better rank than `rank`.
local function better_than(rank, queue, caller)
  local best, best_turn
  for _, each in ipairs({key.turns(queue, caller), key.waiting(queue, caller)}) do
    local first, turn, second = unpack(redis.call('ZRANGE', each, 0, 1, 'WITHSCORES'))
    if second then has_second[each] = first end
    if first and rank_of(turn) < rank then first, turn = first_queued(each) end
    if first and rank_of(turn) < rank and (not best or tonumber(turn) < tonumber(best_turn)) then
      best, best_turn = first, turn
    end
  end
  return best
end

-- Gives a queued job the turn that another of its caller's had: its message goes where workers look first.
local function call_up(id, queue, caller)
  if redis.call('ZSCORE', key.waiting(queue, caller), id) then
    local set, had = had_by(queue, caller)
    if set then
      redis.call('ZADD', set, had + (price_of(id, queue) or 0), caller)
    else
      redis.call('HSET', key.job(id), 'unpaid', 1)
    end
    take_out(id, queue, caller)
  end
  redis.call('ZADD', key.turns(queue, caller), ranked(CALLED, tonumber(field(id, 'turn')) % RANK), id)
  look_later(queue, id, args.look_after_s)
  redis.call('ZADD', key.line(queue), ranked(FIRST, next_number()), id)
end

-- Takes a queued job out of wherever it waits: in the table, for its time, or released and unclaimed. Answers where in the
-- line that was.
local function withdraw(id, queue, caller)
  local place = redis.call('ZSCORE', key.line(queue), id)
  redis.call('ZREM', key.queued(queue), id)
  take_out(id, queue, caller)
  redis.call('ZREM', key.later(queue), id)
  if redis.call('SREM', key.later_of(queue, caller), id) == 1 then
    redis.call('ZREM', key.later_by(queue, caller), id)
  end
  redis.call('ZREM', key.turns(queue, caller), id)
  redis.call('ZREM', key.released(queue), id)
  redis.call('ZREM', key.line(queue), id)
  return place
end

-- Takes a queued job out because it is to end, or to wait again.
local function give_up(id, queue, caller)
  local place = withdraw(id, queue, caller)
  if place and rank_of(place) < LINE then pay_back(id, queue, caller) end
end

-- Puts a job where waiting jobs are, in the turn that it had from the first.
local function wait_in_turn(id, queue, caller, turn)
  turn = turn or field(id, 'turn')
  redis.call('HDEL', key.job(id), 'unpaid')
  redis.call('ZADD', key.waiting(queue, caller), turn, id)
  redis.call('ZADD', key.queued(queue), turn, id)
  take_turns(queue, caller)
end

-- Has a released job wait again; one that is not released stays where it is.
local function step_back(id, queue, caller)
  if not redis.call('ZSCORE', key.line(queue), id) then return end
  give_up(id, queue, caller)
  wait_in_turn(id, queue, caller)
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
  local is = look_up(id, {'start_by', 'end_by', 'caller'})
  local due = math.min(tonumber(is.start_by or '') or math.huge, tonumber(is.end_by or '') or math.huge)
  if due == math.huge then return end
  redis.call('ZADD', key.deadlines, seconds(due), id)
  redis.call('ZADD', key.deadlines_by(is.caller), seconds(due), id)
  redis.call('ZADD', key.deadline_callers, 'LT', seconds(due), is.caller)
end

-- It begins, or has ended: its deadline is nobody's to look for.
local function forget_deadline(id, caller)
  redis.call('ZREM', key.deadlines, id)
  redis.call('ZREM', key.deadlines_by(caller), id)
end
