-- Whose turn it is: the order in which callers take turns, and what they pay. What gives turns has the argument `window`.

local ALONE = -2  -- in place of what a caller has had, before its number: it has had nothing, and one job of its waits

local BEGINS = -1  -- the same of a caller of which more than one job waits

local KEPT = 1e-3  -- of turns that are paid back: a caller that cancels its released jobs does not get the next turn for ever

local MOST_STALE = 32  -- callers of whom nothing waits, as a process of the version before leaves them, that one turn passes

-- Whether jobs wait for their release: new ones then have to take turns.
local function is_anybody_waiting(queue)
  return redis.call('EXISTS', key.shares(queue)) == 1
end

-- The first of those who take turns, and what that one has had, or its rank; nothing where nobody waits.
local function first_in_turn(queue)
  return unpack(redis.call('ZRANGE', key.shares(queue), 0, 0, 'WITHSCORES'))
end

-- What the caller had had whose turn was the last: who comes anew begins with that.
local function front_of(queue)
  return tonumber(redis.call('HGET', key.front(queue), 'had') or 0)
end

-- Has a caller whose job waits take turns. Who has had no more than others, and has nothing released, goes before all that
-- have had turns, in the order of coming: first those of whom one job waits, then those of whom more do. `had` is what
-- it has there, where that is known.
local function take_turns(queue, caller, had)
  local shares = key.shares(queue)
  had = had or redis.call('ZSCORE', shares, caller)
  if had then
    if rank_of(had) == ALONE then redis.call('ZADD', shares, ranked(BEGINS, tonumber(had) % RANK), caller) end
    return
  end
  redis.call('SADD', key.callers(queue), caller)
  local front = front_of(queue)
  had = math.max(front, tonumber(redis.call('ZSCORE', key.gone(queue), caller) or 0))
  if had == front and redis.call('ZCARD', key.turns(queue, caller)) == 0 then
    local has_more = redis.call('ZCARD', key.waiting(queue, caller)) > 1
    had = ranked(has_more and BEGINS or ALONE, next_number())
  end
  redis.call('ZADD', shares, had, caller)
end

-- Nothing of a caller's waits any more. What it had is remembered until others have had as much; where nobody waits,
-- nothing is.
local function leave(queue, caller, had)
  redis.call('SREM', key.callers(queue), caller)
  redis.call('ZREM', key.shares(queue), caller)
  if not is_anybody_waiting(queue) then
    redis.call('UNLINK', key.gone(queue), key.front(queue))
  elseif had and had >= 0 then
    redis.call('ZADD', key.gone(queue), had, caller)
  end
end

-- What the message of a released job is made of: a record, as far as that needs it. Nothing where it has gone.
local MESSAGE = {'status', 'queue', 'caller', 'created_at', 'schema', 'kind', 'spec'}

local records = {}  -- by job that this script releases, what its record says of these

local function message_of(id)
  local found, values = {}, records[id] or redis.call('HMGET', key.job(id), unpack(MESSAGE))
  for at, name in ipairs(MESSAGE) do
    if values[at] then found[#found + 1], found[#found + 2] = name, values[at] end
  end
  return found
end

-- What a job's turn costs its caller, and how often it was claimed. One of a version that knew no costs has 1; one that is
-- not queued any more has none, and stands in no list from now on.
local function price_of(id, queue)
  local found = redis.call('HMGET', key.job(id), 'cost', 'deliveries', unpack(MESSAGE))
  local cost, deliveries = table.remove(found, 1), table.remove(found, 1)
  if found[1] ~= 'queued' then
    redis.call('ZREM', key.queued(queue), id)
    return
  end
  records[id] = found
  return tonumber(cost) or 1, tonumber(deliveries) or 0
end

-- Whose turn it is, and what that caller has had; nothing where nobody waits. Who has had none goes first. But of those
-- that wait with them, one who has had some has the turn after each `window` of these; and one of whom more than one job
-- waits, after each `window` of those of whom a single one does. So no stream of new callers keeps anybody waiting for ever.
-- `caller` and `had` are what `first_in_turn` has answered, where it was asked.
local function whose_turn(queue, caller, had)
  local shares, front = key.shares(queue), key.front(queue)
  if not caller then caller, had = first_in_turn(queue) end
  if not caller then return end
  local rank = rank_of(had)
  if rank < 0 then
    local sharer, least = unpack(redis.call('ZRANGEBYSCORE', shares, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1))
    local begins = redis.call('ZRANGEBYSCORE', shares, ranked(BEGINS, 0), '(0', 'LIMIT', 0, 1)[1]
    local noted = redis.call('HMGET', front, 'had', 'firsts', 'alone')
    local firsts, alone = tonumber(noted[2] or 0), tonumber(noted[3] or 0)
    if not sharer or firsts < args.window then
      if begins and alone >= args.window then caller, rank = begins, BEGINS end
      redis.call('HSET', front, 'firsts', sharer and firsts + 1 or 0, 'alone', begins and rank == ALONE and alone + 1 or 0)
      return caller, tonumber(noted[1] or 0)
    end
    caller, had = sharer, least
  end
  redis.call('HSET', front, 'had', had, 'firsts', 0)
  return caller, tonumber(had)
end

local has_second = {}  -- by set of waiting jobs: the first that was seen there, of those with more behind it

-- Takes the next of the waiting jobs, with its turn, its caller, who pays for it, and how often it was claimed; nothing
-- where none waits. This is start-time fair queueing (Goyal, Vin and Cheng 1996).
local function next_in_turn(queue, first, first_had)
  for _ = 1, MOST_STALE do
    local caller, had = whose_turn(queue, first, first_had)
    if not caller then return end
    first = nil
    local waiting = key.waiting(queue, caller)
    local id, turn = unpack(redis.call('ZPOPMIN', waiting))
    local cost, deliveries
    if id then cost, deliveries = price_of(id, queue) end
    had = had + (cost or 0)
    if (id and has_second[waiting] == id) or redis.call('EXISTS', waiting) == 1 then
      redis.call('ZADD', key.shares(queue), had, caller)
    else
      leave(queue, caller, had)
    end
    if cost then return id, turn, caller, deliveries end
  end
end

-- Takes a job out of those that wait; one that does not is none of them.
local function take_out(id, queue, caller)
  if redis.call('ZREM', key.waiting(queue, caller), id) == 0 then return end
  if redis.call('EXISTS', key.waiting(queue, caller)) == 0 then
    leave(queue, caller, tonumber(redis.call('ZSCORE', key.shares(queue), caller) or -1))
  end
end

-- In which set it stands what a caller has had, and how much that is; nothing of one that has had nothing.
local function had_by(queue, caller)
  for _, set in ipairs({key.shares(queue), key.gone(queue)}) do
    local had = tonumber(redis.call('ZSCORE', set, caller) or -1)
    if had >= 0 then return set, had end
  end
end

-- A turn that a job has paid for and does not use is paid back, as far as its caller does not get before those who had
-- their turns since.
local function pay_back(id, queue, caller)
  local set, had = had_by(queue, caller)
  if not set then return end
  local cost, is_unpaid = unpack(redis.call('HMGET', key.job(id), 'cost', 'unpaid'))
  if is_unpaid then return end
  local least = front_of(queue) + KEPT
  redis.call('ZADD', set, math.min(had, math.max(had - (tonumber(cost) or 1), least)), caller)
end
