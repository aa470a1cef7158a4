-- CHECK: looks at one page of one place for what the protocol never leaves, and
-- mends it when asked to. What it finds it finds and mends in this one script,
-- so that nothing can move in between. It never removes a job.
-- KEYS  places, 10 the set for "set"; for "dedup" 10 the minute before which records were
--       dropped, from 11 on the dedup keys
-- ARGV  1 what: stream, pending, body, set, parks, moved, cancel, mark, dedup
--       2 cursor, 3 most of this page, 4 1 to mend or 0, 5 prefix of the parked
--       keys, 6 for stream the last id that was given to a worker, for dedup the
--       prefix of the logs, 7 for dedup how long a log is kept in ms, 8 for dedup
--       the length of what comes before the id in its key
-- Output {next cursor or '', looked at, then for each finding: word, id, 1 if mended}
-- Crash before: nothing happened. Crash after, reply lost: sent again it finds
-- what is left. A job goes to its new place before it leaves the old one.
check()
local what, cursor, most, mend = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local out = {'', 0}

local function found(word, id, repair)
  local done = 0
  if mend and repair then repair(); done = 1 end
  out[#out + 1] = word; out[#out + 1] = id; out[#out + 1] = done
end

-- The entry of a job that is in the stream, else nil.
local function entry(jid)
  for _, eid in ipairs({redis.call('HGET', MOVED, jid) or jid, jid}) do
    if string.match(eid, '^%d+%-%d+$') and #redis.call('XRANGE', JOBS, eid, eid) > 0 then return eid end
  end
  return nil
end

local function number(n) return string.format('%.0f', n) end

local function decode(text)
  local good, m = pcall(cjson.decode, text)
  if good and type(m) == 'table' then return m end
  return nil
end

local function pending(eid)
  local p = redis.pcall('XPENDING', JOBS, GROUP, eid, eid, 1)
  return p.err or #p > 0 -- without a group all is new
end

-- Was given to a worker and is in no pending list: nobody will ever get it.
local function stray(e)
  local field = {}
  for i = 1, #e[2], 2 do field[e[2][i]] = e[2][i + 1] end
  local m = field.meta and decode(field.meta)
  if not m or not m.j then m = {j = e[1], n = 1, e = tonumber(string.match(e[1], '^(%d+)'))} end
  local other = entry(m.j)
  if redis.call('HEXISTS', BODY, m.j) == 1 or other and other ~= e[1] then return found('two-places', m.j) end
  found('stray', m.j, function()
    m.n = (tonumber(m.n) or 1) + 1 -- the attempt that was cut off may still write its record
    ready(m.j, cjson.encode(m) .. '\n' .. (field.job or ''))
    drop(e[1])
  end)
end

local function body(jid, text)
  local cut = string.find(text, '\n', 1, true)
  local m = cut and decode(string.sub(text, 1, cut - 1))
  if not m then return found('unreadable', jid) end
  local places, name = 0, nil
  if redis.call('ZSCORE', DUE, jid) then places = places + 1 end
  if redis.call('ZSCORE', DEAD, jid) then places = places + 1 end
  if m.s then
    name = m.s .. ':' .. number(m.v or 0) .. (type(m.b) == 'string' and m.b or '')
    if redis.call('ZSCORE', ARGV[5] .. name, jid) then places = places + 1 else name = nil end
  end
  local eid = entry(jid)
  if places > 1 or places == 1 and eid then return found('two-places', jid) end
  if places == 1 then
    if name and redis.call('HEXISTS', PARKS, name) == 0 then
      found('unlisted', name, function() redis.call('HSETNX', PARKS, name, number(now())) end)
    end
  elseif eid then
    found('body-left', jid, function() redis.call('HDEL', BODY, jid) end)
  else
    found('no-place', jid, function() redis.call('ZADD', DUE, now(), jid) end)
  end
end

local function each(reply, step, check_one)
  for i = 1, #reply[2], step do
    check_one(reply[2][i], reply[2][i + 1])
    out[2] = out[2] + 1
  end
  if reply[1] ~= '0' then out[1] = reply[1] end
end

-- Whose id is taken, and of which nothing is left: not even a record, although the
-- log of its minute is still kept. The first records are enough: their numbers go
-- up by one with each claim, and five claims without a record are a dead letter,
-- whose burial has one.
local function known(jid)
  if redis.call('HEXISTS', BODY, jid) == 1 or entry(jid) then return true end
  local fields = {}
  for n = 0, 20 do fields[#fields + 1] = jid .. '/' .. n end
  local minute = math.floor(tonumber(string.match(jid, '^%d+')) / 60000)
  if minute < tonumber(redis.call('GET', KEYS[10]) or '0') then return true end -- dropped: there were too many
  for _, v in ipairs(redis.call('HMGET', ARGV[6] .. number(minute), unpack(fields))) do
    if v then return true end
  end
  return false
end

local function dedup(key, t)
  local was = redis.pcall('GET', key)
  if not was then return end -- it ran out meanwhile
  local jid, ms
  if type(was) == 'string' then jid, ms = string.match(was, '^(%d+%-%d+) (%d+)$') end
  local id = string.sub(key, tonumber(ARGV[8]) + 1)
  if not jid then return found('unreadable', id) end
  if t - tonumber(ms) < tonumber(ARGV[7]) and not known(jid) then found('dedup-lost', id) end
end

local function from(c) if c == '' then return '-' else return '(' .. c end end

if what == 'stream' then
  local page = redis.call('XRANGE', JOBS, from(cursor), ARGV[6], 'COUNT', most)
  for _, e in ipairs(page) do
    if not pending(e[1]) then stray(e) end
  end
  out[2] = #page
  if #page == most then out[1] = page[most][1] end
elseif what == 'pending' then
  local page = redis.pcall('XPENDING', JOBS, GROUP, from(cursor), '+', most)
  if page.err then page = {} end
  for _, p in ipairs(page) do
    if #redis.call('XRANGE', JOBS, p[1], p[1]) == 0 then
      found('pending-left', p[1], function() redis.call('XACK', JOBS, GROUP, p[1]) end)
    end
  end
  out[2] = #page
  if #page == most then out[1] = page[most][1] end
elseif what == 'body' then
  each(redis.call('HSCAN', BODY, cursor == '' and '0' or cursor, 'COUNT', most), 2, body)
elseif what == 'set' then
  each(redis.call('ZSCAN', KEYS[10], cursor == '' and '0' or cursor, 'COUNT', most), 2, function(jid)
    if redis.call('HEXISTS', BODY, jid) == 1 then return end
    found(entry(jid) and 'member-left' or 'body-lost', jid, function() redis.call('ZREM', KEYS[10], jid) end)
  end)
elseif what == 'parks' then
  each(redis.call('HSCAN', PARKS, cursor == '' and '0' or cursor, 'COUNT', most), 2, function(name)
    if redis.call('ZCARD', ARGV[5] .. name) == 0 then
      found('parks-left', name, function() redis.call('HDEL', PARKS, name) end)
    end
  end)
elseif what == 'dedup' then
  local t = now()
  for i = 11, #KEYS do dedup(KEYS[i], t) end
  out[2] = #KEYS - 10
else
  local key = ({moved = MOVED, cancel = CANCEL, mark = MARK})[what]
  each(redis.call('HSCAN', key, cursor == '' and '0' or cursor, 'COUNT', most), 2, function(jid)
    if not entry(jid) then found(what .. '-left', jid, function() redis.call('HDEL', key, jid) end) end
  end)
end
return out
