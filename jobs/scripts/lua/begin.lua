#!lua flags=allow-oom
-- A running job enters its first stage, and could do harm from here on: its attempt counts, once for each claim.
-- Answers as `progress` does.
local answer = verdict(args.job_id, args.token)
if answer ~= 'fenced' then
  charge(args.job_id, args.token)
  note_stage(args.job_id, args.stage, 0, 0)
end
return answer
