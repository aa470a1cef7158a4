-- REAP: forgets a consumer that is gone.
-- KEYS  places
-- ARGV  1 consumer
-- Output 1 if it was deleted, 0 if it still holds entries
-- DELCONSUMER drops the consumer's pending list, and an entry in no pending
-- list is never delivered again: so only when the list is empty, in one script.
local p = redis.pcall('XPENDING', JOBS, GROUP, '-', '+', 1, ARGV[1])
if p.err or #p > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', JOBS, GROUP, ARGV[1])
return 1
