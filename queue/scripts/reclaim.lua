-- RECLAIM: a lost lease -> ours, or -> dead letter after too many losses. Of the
-- jobs that lost a worker often, the suspects, it takes as many as may run now.
-- KEYS  places
-- ARGV  1 consumer, 2 lease ms, 3 most entries looked at, 4 cursor, 5 losses
--       allowed, 6 losses that make a suspect, 7 free slots for suspects,
--       8 most entries taken, 9 losses from which one runs alone, 10 slots for suspects,
--       11 log TTL s (0: no record), 12 prefix of the logs
-- Output {where to go on, or '0-0' if all were looked at, {{entry id, deliveries, meta or '', job or '', mark or '', cancelled 0 or 1}, ...},
--        {buried jid, ...}, suspects left where they are}
-- Crash before: still pending under the old holder. Crash after, reply lost:
-- pending under a holder that does not know of it; idle again, a later call
-- takes it. The count and the burial are one script, so they cannot race. A
-- suspect that is left counts no loss: nobody holds it who could die of it, and
-- it dies of nobody.
-- A burial is recorded as every other end is, behind the numbers of the lost claims:
-- else an operator who removes the dead letter would leave an id that is taken, and
-- nothing that says what became of its job.
check()

-- The kind of a job that says it, as far as it can be read.
local function kind(job)
  local good, j = pcall(cjson.decode, job)
  local action = good and type(j) == 'table' and j.action
  return type(action) == 'table' and type(action.type) == 'string' and action.type or nil
end

-- Writes the record of a burial and counts it.
local function bury(meta, losses, job)
  local n, born = (tonumber(meta.n) or 1) + losses, tonumber(string.match(meta.j, '^%d+'))
  meta.n = n + 1
  if ARGV[11] == '0' or not born then return end
  local key = ARGV[12] .. string.format('%.0f', math.floor(born / 60000))
  local record = {t = now(), k = meta.k or kind(job), n = meta.d, u = meta.a, h = meta.h, c = meta.c, x = meta.x, r = meta.r}
  log(key, meta.j .. '/' .. string.format('%.0f', n), 'dead', cjson.encode(record), ARGV[11])
end

local found = redis.call('XPENDING', JOBS, GROUP, 'IDLE', ARGV[2], ARGV[4], '+', ARGV[3])
local cursor, out, buried, left, may = '0-0', {}, {}, 0, tonumber(ARGV[7])
if #found == tonumber(ARGV[3]) then
  local ms, seq = string.match(found[#found][1], '^(%d+)%-(%d+)$')
  cursor = ms .. '-' .. string.format('%.0f', tonumber(seq) + 1)
end
for _, p in ipairs(found) do
  local eid, n = p[1], p[4]
  if #out == tonumber(ARGV[8]) then
    cursor = '0-1' -- from the start: the slot of suspects may be free by then
    break
  end
  local e = redis.call('XRANGE', JOBS, eid, eid)
  if #e == 0 then
    redis.call('XACK', JOBS, GROUP, eid) -- it is deleted, and only pending
  else
    local field = {meta = '', job = ''}
    for i = 1, #e[1][2], 2 do field[e[1][2][i]] = e[1][2][i + 1] end
    local meta = {j = eid, n = 1}
    if field.meta ~= '' then
      local good, m = pcall(cjson.decode, field.meta)
      if good and type(m) == 'table' and m.j then meta = m end
    end
    local crashes = (tonumber(meta.c) or 0) + n
    local suspect, need = crashes >= tonumber(ARGV[6]), 1
    if crashes >= tonumber(ARGV[9]) then need = tonumber(ARGV[10]) end
    if crashes >= tonumber(ARGV[5]) then
      meta.c, meta.r, meta.o, meta.l = crashes, 'poison', nil, nil
      meta.s, meta.v, meta.b = nil, nil, nil -- of a wait that is over: a late success would look for the job in that set
      meta.x = 'its worker died or lost it ' .. string.format('%.0f', crashes) .. ' times'
      if not meta.e then meta.e = tonumber(string.match(meta.j, '^(%d+)')) end
      bury(meta, n, field.job)
      redis.call('HSET', BODY, meta.j, cjson.encode(meta) .. '\n' .. field.job)
      redis.call('ZADD', DEAD, now(), meta.j)
      drop(eid)
      forget(meta.j)
      buried[#buried + 1] = meta.j
    elseif suspect and may < need then
      left, may = left + 1, need > 1 and 0 or may -- those behind it let the slots become free
    else
      if suspect then may = may - need end
      redis.call('XCLAIM', JOBS, GROUP, ARGV[1], 0, eid, 'RETRYCOUNT', n + 1, 'JUSTID')
      local mark = redis.call('HGET', MARK, meta.j) or ''
      out[#out + 1] = {eid, n + 1, field.meta, field.job, mark, redis.call('HEXISTS', CANCEL, meta.j)}
    end
  end
end
return {cursor, out, buried, left}
