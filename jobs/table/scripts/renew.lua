#!lua flags=allow-oom
-- The leases of all jobs that one worker holds: lease, then id and token of each. Answers each as `progress` does.
local lease = tonumber(ARGV[1])
local until_s = seconds(now() + lease)
local answers = {}
for at = 2, #ARGV, 2 do
  local id, token = ARGV[at], ARGV[at + 1]
  local answer = 'go'
  if field(id, 'status') ~= 'processing' or field(id, 'token') ~= token then
    answer = 'fenced'
  else
    redis.call('ZADD', key('running', field(id, 'queue')), until_s, id)
    if field(id, 'cancel') then answer = 'cancel' elseif is_past(field(id, 'end_by')) then answer = 'expired' end
  end
  answers[#answers + 1] = answer
end
return answers
