#!lua flags=allow-oom
-- A running job enters its first stage, and could do harm from here on: its attempt counts, once for each claim.
-- Answers as `progress` does.
local id, token = args.job_id, args.token
local charge = 'charge:' .. token
local is = look_up(id, {'status', 'token', 'cancel', 'end_by', 'run_by', 'attempts', 'watched', charge})
local answer = verdict_of(is, token)
if answer == 'fenced' then return answer end
local is_seen = is_watched(is.watched)
local fields = {'stage', args.stage, 'step', 0, 'steps', 0, 'unseen', is_seen and 0 or 1}
if not is[charge] then
  for _, each in ipairs({charge, 1, 'attempts', tonumber(is.attempts or 0) + 1}) do fields[#fields + 1] = each end
end
redis.call('HSET', key.job(id), unpack(fields))
if is_seen then announce(id, 'progress', {stage = args.stage, step = 0, steps = 0}) end
return answer
