-- records_advance: move cursors beside records forward, and note their runs.
-- KEYS 1 NAME (hash), 2 NAME:cursor (hash), 3 NAME:lastrun (hash)
-- ARGV for each of at most 1000: field, base (ms), cursor (s), run (ms; '0': none)
-- Output for each 1 moved, 0 it was there or further, or its record is gone.
-- A later base is further than an earlier one, whatever the cursors say.
-- Crash: before it nothing is changed; after it all is and the same steps can be sent again.
local out = {}
for i = 1, #ARGV, 4 do
  local field, base, cursor = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local moved = 0
  if redis.call('HEXISTS', KEYS[1], field) == 1 then
    local was = redis.call('HGET', KEYS[2], field) or '-1 -1'
    local wasbase, wascursor = string.match(was, '^(%S+) (%S+)$')
    wasbase, wascursor = tonumber(wasbase) or -1, tonumber(wascursor) or -1
    if base > wasbase or base == wasbase and cursor > wascursor then
      redis.call('HSET', KEYS[2], field, ARGV[i + 1] .. ' ' .. ARGV[i + 2])
      if ARGV[i + 3] ~= '0' then
        redis.call('HSET', KEYS[3], field, ARGV[i + 3])
      end
      moved = 1
    end
  end
  out[#out + 1] = moved
end
return out
