-- HIGHEST: remembers the highest number of partitions that any process had.
-- KEYS  1 the number (this script takes no places)
-- ARGV  1 the number of the caller
-- Output the highest
-- Crash at any point: the caller tells it again within a minute. A failover may
-- forget it: every process that has more than one partition tells it again.
local was = tonumber(redis.call('GET', KEYS[1]) or '1')
local own = tonumber(ARGV[1])
if own > was then
  redis.call('SET', KEYS[1], own)
  return own
end
return was
