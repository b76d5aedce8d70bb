--[[
  What the operations on entries share; each of them is this file and its own.

  An entry is a job of BullMQ: the hash `<prefix>:<queue>:<id>` (`data`, `timestamp`, `priority`, …), its id in `prioritized`,
  `delayed`, `active`, `failed` or `completed` of its queue, and `<hash>:lock` while it is taken. Beside what BullMQ writes there, the hash has
    seq       in order of adding, over all queues
    state     waiting, active, retrying, paused, failed, done
    group     of the entry
    rank      its priority as it was given: higher goes first (of BullMQ's, lower)
    due       milliseconds since the epoch
    attempts  times that it was taken
    reason    why the last attempt failed

  <prefix>:<queue>:by:<state>          sorted set: ids by seq
  <prefix>:<queue>:by:<state>:<group>  sorted set: ids of a group by seq
  <prefix>::group:<group>              hash: queue → entries of the group in it
  <prefix>::queues                     set: queues
  <prefix>::seq                        the last seq given
  <prefix>::moved                      channel: entries that were added or settled, as JSON: the node, then the entries

  Every key has the hash tag of the prefix, if it has one. An entry goes out as {queue, id, seq, group, state, rank, due, attempts, added, reason, data}.
]]
local STATES = {'waiting', 'active', 'retrying', 'paused', 'failed', 'done'}

local function keyOf(prefix, queue, name) return prefix .. ':' .. queue .. ':' .. name end

--- An entry as it goes out; nil where there is none.
local function read(prefix, queue, id)
  local row = redis.call('HMGET', keyOf(prefix, queue, id), 'seq', 'group', 'state', 'rank', 'due', 'attempts', 'timestamp',
    'reason', 'data')
  if not row[1] then return nil end
  return {queue, id, unpack(row)}
end

--- Lists an entry under the state `to` (nil: no more) instead of under `from` (nil: not yet).
local function file(prefix, queue, id, seq, group, from, to)
  if from == to then return end
  local suffixes = group == '' and {''} or {'', ':' .. group}
  for _, suffix in ipairs(suffixes) do
    if from then redis.call('ZREM', keyOf(prefix, queue, 'by:' .. from .. suffix), id) end
    if to then redis.call('ZADD', keyOf(prefix, queue, 'by:' .. to .. suffix), seq, id) end
  end
  if group == '' then return end
  local groupKey = keyOf(prefix, '', 'group:' .. group)
  if not from then redis.call('HINCRBY', groupKey, queue, 1) end
  if not to and redis.call('HINCRBY', groupKey, queue, -1) <= 0 then redis.call('HDEL', groupKey, queue) end
end

--- BullMQ's priority, from 1 (first) to 2^21.
local function priorityOf(rank)
  return math.max(1, math.min(2097151, 1048576 - tonumber(rank)))
end

--- Puts an entry where BullMQ takes it from: the highest rank first, then the first added.
local function ready(prefix, queue, id, seq, rank)
  local priority = priorityOf(rank)
  redis.call('HSET', keyOf(prefix, queue, id), 'priority', priority, 'delay', 0)
  redis.call('ZADD', keyOf(prefix, queue, 'prioritized'), string.format('%.0f', priority * 0x100000000 + seq % 0x100000000), id)
end

--- Puts an entry where BullMQ takes it from when its time comes.
local function delay(prefix, queue, id, due)
  redis.call('ZADD', keyOf(prefix, queue, 'delayed'), string.format('%.0f', math.min(tonumber(due), 4e12) * 0x1000), id)
end

--- Takes an entry out of where BullMQ has it while it is not ended.
local function withdraw(prefix, queue, id)
  redis.call('ZREM', keyOf(prefix, queue, 'prioritized'), id)
  redis.call('ZREM', keyOf(prefix, queue, 'delayed'), id)
  redis.call('LREM', keyOf(prefix, queue, 'active'), 0, id)
  redis.call('DEL', keyOf(prefix, queue, id) .. ':lock')
end

--- Every node hears of entries that moved; `node` is who moved them.
local function tell(prefix, node, entries)
  if #entries > 0 then redis.call('PUBLISH', keyOf(prefix, '', 'moved'), cjson.encode({node, entries})) end
end
