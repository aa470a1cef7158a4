-- ENQUEUE: none -> ready, or none -> delayed. A batch, all in this partition.
-- KEYS  places, then the dedup keys of the jobs that have an id
-- ARGV  1 most entries, 2 dedup window ms, 3 dedup TTL ms, 4 most dead letters,
--       5 whether the caller waits for a replica or the disk (0 or 1), then for
--       each job: index of its dedup key in KEYS or 0, due ms (0: at once), job JSON
-- Output {'full'}, {'dead-full'}, or {'ok', jid, dup, jid, dup, ...} with dup 0 or 1
-- Crash before: the producer got no answer and sends again. Crash after, reply
-- lost: a job with an id answers dup when sent again; one without is doubled.
-- The job is written before its dedup key: an abort between the two leaves a
-- possible duplicate and never a refused job that does not exist. A delayed
-- job is in the stream for a moment, which mints its jid; if the script broke
-- there, the worker that reads it would see not_before and delay it again.
--
-- A job that is there already is written nowhere. But WAIT and WAITAOF wait for
-- the last write of their own connection, so a caller that waits writes the dedup
-- key as it is: its wait then covers the job, which was written before.
local t = now()
local n = (#ARGV - 5) / 3
if redis.call('XLEN', JOBS) + n > tonumber(ARGV[1]) then return {'full'} end
if redis.call('ZCARD', DEAD) >= tonumber(ARGV[4]) then return {'dead-full'} end
redis.call('ZCARD', DUE); redis.call('HLEN', BODY)
local window, ttl = tonumber(ARGV[2]), ARGV[3]
local out = {'ok'}
for i = 6, #ARGV, 3 do
  local dedup, due, job = tonumber(ARGV[i]), tonumber(ARGV[i + 1]), ARGV[i + 2]
  local jid, dup = nil, 0
  if dedup > 0 then
    local was = redis.call('GET', KEYS[dedup])
    if was then
      local cut = string.find(was, ' ', 1, true)
      if t - tonumber(string.sub(was, cut + 1)) < window then
        jid, dup = string.sub(was, 1, cut - 1), 1
        if ARGV[5] == '1' then redis.call('SET', KEYS[dedup], was, 'KEEPTTL') end
      end
    end
  end
  if not jid then
    jid = redis.call('XADD', JOBS, '*', 'job', job)
    if due > t then
      local meta = '{"j":"' .. jid .. '","n":1,"e":' .. string.format('%.0f', t) .. '}'
      redis.call('HSET', BODY, jid, meta .. '\n' .. job)
      redis.call('ZADD', DUE, due, jid)
      redis.call('XDEL', JOBS, jid)
    end
    if dedup > 0 then
      redis.call('SET', KEYS[dedup], jid .. ' ' .. string.format('%.0f', t), 'PX', ttl)
    end
  end
  out[#out + 1] = jid
  out[#out + 1] = dup
end
return out
