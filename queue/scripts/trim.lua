-- TRIM: drops the records of attempts of one minute and of all before it, as far
-- as it is told their logs. It is only called when the logs have too many.
-- KEYS  places, 10 the minute before which records were dropped, then the logs
-- ARGV  1 the minute after the last of these logs, 2 for how long that is of use, s
-- Output how many records were dropped
-- Crash before: the next look drops them. Crash after, reply lost: nothing is left
-- to drop. The minute is written first: an id whose records are gone must not look
-- lost to the check.
local before, was = tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[10]) or '0')
if before > was then redis.call('SET', KEYS[10], ARGV[1], 'EX', ARGV[2]) end
local n = 0
for i = 11, #KEYS do
  n = n + redis.call('HLEN', KEYS[i])
  redis.call('UNLINK', KEYS[i])
end
return n
