-- records_advance: move cursors beside records forward, and note their runs.
-- KEYS 1 NAME (hash), 2 NAME:cursor (hash), 3 NAME:lastrun (hash)
-- ARGV for each of at most 1000: field, cursor (s), run (ms; '0': none)
-- Output for each 1 moved, 0 it was there or further, or its record is gone.
-- Crash: before it nothing is changed and the same steps can be sent again; after it all is.
local out = {}
for i = 1, #ARGV, 3 do
  local field, cursor = ARGV[i], tonumber(ARGV[i + 1])
  local moved = 0
  if redis.call('HEXISTS', KEYS[1], field) == 1 and cursor > tonumber(redis.call('HGET', KEYS[2], field) or '-1') then
    redis.call('HSET', KEYS[2], field, ARGV[i + 1])
    if ARGV[i + 2] ~= '0' then
      redis.call('HSET', KEYS[3], field, ARGV[i + 2])
    end
    moved = 1
  end
  out[#out + 1] = moved
end
return out
