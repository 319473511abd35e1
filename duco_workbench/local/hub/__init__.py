"""The local IoT Hub: one process that the unmodified Azure SDKs talk to, offline.

::

    device --MQTT/TLS 8883--> devices ──append──> journal ──read──> amqp --AMQP/TLS 5671--> azure-eventhub
                                 │ twins, keys       │
                                 └──── registry ─────┴─── rest --HTTPS 8443--> azure-iot-hub, HubService
"""
