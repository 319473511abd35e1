"""The agent: what runs on the machine. Its files read like the drawing::

    buses  gnss  dtcs  performance  intake  key      collect: frames, and drafts of the other messages
        └──► batch                                   pack: the open batch, sealed on time
               └──► keeper ──► queue ──► storage     queue: ids, and safe until the hub has it (rows, state, room;
                                 │                   recovery and salvage, when the file is damaged)
                                 └──► uplink ──► link     upload: azure-iot-device, and what went wrong (trouble)
    realtime ◄── direct method        twin ──► reported properties

``agent.py`` puts it together, ``config.py`` is its one file, ``clock.py`` knows what time it is.
It needs the base install only.
"""
