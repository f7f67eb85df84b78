#!lua flags=allow-oom
-- Renew the leases of all jobs that one worker holds. Answers each as `progress` does. Where a job is goes into its
-- record with it, of one that nobody watches: so a first reader sees that, and not what its attempt began with.
local until_s = seconds(now() + args.lease_s)
local answers, renewed = {}, {}
for at, each in ipairs(args.claims) do
  local is = look_up(each.job_id, {'queue', 'status', 'token', 'cancel', 'end_by', 'run_by'})
  answers[at] = verdict_of(is, each.token)
  if answers[at] ~= 'fenced' then
    local leases = renewed[is.queue] or {}
    leases[#leases + 1], leases[#leases + 2] = until_s, each.job_id
    renewed[is.queue] = leases
    if each.stage then
      redis.call('HSET', key.job(each.job_id), 'stage', each.stage, 'step', each.step, 'steps', each.steps, 'unseen', 1)
    end
  end
end
for queue, leases in pairs(renewed) do redis.call('ZADD', key.running(queue), unpack(leases)) end
return answers
