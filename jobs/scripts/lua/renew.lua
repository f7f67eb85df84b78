#!lua flags=allow-oom
-- Renew the leases of all jobs that one worker holds. Answers each as `progress` does.
local until_s = seconds(now() + args.lease_s)
local answers = {}
for at, each in ipairs(args.claims) do
  answers[at] = verdict(each.job_id, each.token)
  if answers[at] ~= 'fenced' then
    redis.call('ZADD', key.running(field(each.job_id, 'queue')), until_s, each.job_id)
  end
end
return answers
