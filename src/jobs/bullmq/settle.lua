--[[
  Settles entries, all in one step: each that is in one of the states it should be in.

  ARGV[1]  prefix
  ARGV[2]  node
  ARGV[3]  now, milliseconds since the epoch
  ARGV[4]  JSON: [{queue, id, state (or 'removed'), from?: [state…], due?, rank?, reason?, value?}…]; all but `from` are strings
  ARGV[5]  JSON: [[queue, id, value]…]; nothing is settled unless all of these have these values

  Returns the entries that it changed, as they are then; a removed one as it was.
]]
local prefix, now = ARGV[1], ARGV[3]
local settled = {}

local function settle(settlement)
  local queue, id, state = settlement.queue, settlement.id, settlement.state
  local key = keyOf(prefix, queue, id)
  local row = redis.call('HMGET', key, 'state', 'seq', 'group', 'due', 'rank')
  local was, seq, group = row[1], row[2], row[3]
  if not was then return end
  if settlement.from then
    local meant = false
    for _, each in ipairs(settlement.from) do meant = meant or each == was end
    if not meant then return end
  end
  -- One that is active and stays so keeps its lock.
  if was ~= state then
    if was == 'failed' then redis.call('ZREM', keyOf(prefix, queue, 'failed'), id)
    elseif was == 'done' then redis.call('ZREM', keyOf(prefix, queue, 'completed'), id)
    else withdraw(prefix, queue, id) end
  end
  if state == 'removed' then
    settled[#settled + 1] = read(prefix, queue, id)
    redis.call('DEL', key)
    file(prefix, queue, id, seq, group, was, nil)
    return
  end

  local due = settlement.due or row[4]
  local rank = settlement.rank or row[5]
  redis.call('HSET', key, 'state', state, 'due', due, 'rank', rank)
  if settlement.reason then redis.call('HSET', key, 'reason', settlement.reason) end
  if settlement.value then redis.call('HSET', key, 'data', settlement.value) end
  if state == 'waiting' and (was == 'failed' or was == 'done') then redis.call('HSET', key, 'attempts', 0) end
  if state == 'waiting' or state == 'retrying' then
    -- It may wait already, for another time.
    withdraw(prefix, queue, id)
    if tonumber(due) > tonumber(now) then delay(prefix, queue, id, due) else ready(prefix, queue, id, tonumber(seq), rank) end
  elseif state ~= was and (state == 'failed' or state == 'done') then
    redis.call('ZADD', keyOf(prefix, queue, state == 'failed' and 'failed' or 'completed'), now, id)
    redis.call('HSET', key, 'finishedOn', now)
    if settlement.reason then redis.call('HSET', key, 'failedReason', settlement.reason) end
  end
  file(prefix, queue, id, seq, group, was, state)
  settled[#settled + 1] = read(prefix, queue, id)
end

for _, premise in ipairs(cjson.decode(ARGV[5])) do
  if redis.call('HGET', keyOf(prefix, premise[1], premise[2]), 'data') ~= premise[3] then return settled end
end
for _, settlement in ipairs(cjson.decode(ARGV[4])) do settle(settlement) end
tell(prefix, ARGV[2], settled)
return settled
