--[[
  Puts right entries of a queue that are not where their state says. A Redis whose log ends within a transaction starts without it, but may
  leave its beginning in the log, where the start after that carries it out: an entry is then taken out of one list and in no other.

  ARGV[1]  prefix
  ARGV[2]  node
  ARGV[3]  now, milliseconds since the epoch
  ARGV[4]  queue
  ARGV[5]  state: waiting, active or retrying
  ARGV[6]  seq beyond which it looks, or ''
  ARGV[7]  how many entries at most

  Returns {the seq of the last entry that it looked at ('' where there was none), the entries that can be taken again}.
]]
local prefix, now, queue, state = ARGV[1], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local from = ARGV[6] == '' and '-inf' or '(' .. ARGV[6]
local page = redis.call('ZRANGEBYSCORE', keyOf(prefix, queue, 'by:' .. state), from, '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[7])
local active = {}
for _, id in ipairs(redis.call('LRANGE', keyOf(prefix, queue, 'active'), 0, -1)) do active[id] = true end

local mended = {}
for index = 1, #page, 2 do
  local id = page[index]
  local key = keyOf(prefix, queue, id)
  local row = redis.call('HMGET', key, 'state', 'seq', 'group', 'rank', 'due')
  if not row[1] then
    redis.call('ZREM', keyOf(prefix, queue, 'by:' .. state), id)
  elseif row[1] ~= state then
    file(prefix, queue, id, row[2], row[3], state, row[1])
  elseif not active[id] then
    local lost = state == 'active'
      or not (redis.call('ZSCORE', keyOf(prefix, queue, 'prioritized'), id) or redis.call('ZSCORE', keyOf(prefix, queue, 'delayed'), id))
    if lost then
      if state == 'active' then
        redis.call('DEL', key .. ':lock')
        redis.call('HSET', key, 'state', 'waiting')
        file(prefix, queue, id, row[2], row[3], 'active', 'waiting')
      end
      if state ~= 'active' and tonumber(row[5]) > now then delay(prefix, queue, id, row[5])
      else ready(prefix, queue, id, tonumber(row[2]), row[4]) end
      mended[#mended + 1] = read(prefix, queue, id)
    end
  end
end
tell(prefix, ARGV[2], mended)
return { page[#page] or '', mended }
