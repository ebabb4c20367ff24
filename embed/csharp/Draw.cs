// Draw.cs - a page of digits by a consistency model, from C#.
//
//     mcs Draw.cs && mono Draw.exe MODEL.safetensors page.png
//
// Structs may end behind the last member that a program sets: struct_size says where, and the rest has its defaults.
using System;
using System.Runtime.InteropServices;

[StructLayout(LayoutKind.Sequential)]
struct Images
{
    public uint StructSize;
    public int Dtype;
    public UIntPtr N;
    public int Channels, Height, Width, Layout;
    public long ImageStride, ChannelStride, RowStride, PixelStride;
    public IntPtr Data;
}

[StructLayout(LayoutKind.Sequential)]
struct ModelInfo
{
    public uint StructSize;
    public int Channels, Height, Width, OutChannels, NumClasses, NeedsLabel, IsConsistency;
}

[StructLayout(LayoutKind.Sequential)]
struct Condition
{
    public uint StructSize;
    public int Reserved;
    public IntPtr Labels;
    public double Guidance;
}

[StructLayout(LayoutKind.Sequential)]
struct SampleOptions
{
    public uint StructSize;
    public int Method;
    public IntPtr Sigmas;
    public UIntPtr SigmaCount;
    public IntPtr Ts;
    public UIntPtr TsCount;
    public int Grid, Steps;
    public double Rho, SigmaMin, SigmaMax;
    public int ClipDenoised, ClipOutput;
    public double SChurn, STmin, STmax, SNoise;
    public int EdmDiscretization, EdmSchedule, EdmScaling, EdmSolver;
    public double EdmAlpha;
    public ulong Seed, FirstIndex;
    public int NoiseSource, Reserved;
    public ulong NumSamples;
    public IntPtr Noise, StepNoise;
    public UIntPtr NoiseSteps;
    public IntPtr Condition;
}

static class Consistency
{
    const string Library = "libconsistency.so.0";
    [DllImport(Library)] public static extern IntPtr cm_last_message();
    [DllImport(Library)] public static extern int cm_model_load(IntPtr context, string path, IntPtr options, out IntPtr model);
    [DllImport(Library)] public static extern int cm_model_info_get(IntPtr model, ref ModelInfo info);
    [DllImport(Library)] public static extern void cm_model_free(IntPtr model);
    [DllImport(Library)] public static extern int cm_sampler_create(IntPtr model, IntPtr options, out IntPtr sampler);
    [DllImport(Library)] public static extern int cm_sampler_run_images(IntPtr sampler, ref SampleOptions options, ref Images images);
    [DllImport(Library)] public static extern void cm_sampler_free(IntPtr sampler);
    [DllImport(Library)] public static extern int cm_image_grid_size(ref Images images, int columns, int margin, out int height, out int width);
    [DllImport(Library)] public static extern int cm_image_grid(ref Images images, int columns, int margin, byte background, ref Images page);
    [DllImport(Library)] public static extern int cm_image_write(IntPtr context, string path, ref Images image, IntPtr options);

    public static void Check(int status)
    {
        if (status != 0) throw new Exception(Marshal.PtrToStringAnsi(cm_last_message()));
    }
}

// Handles free what they hold, when they are disposed of or collected.
sealed class Handle : SafeHandle
{
    readonly Action<IntPtr> free;
    public Handle(IntPtr value, Action<IntPtr> free) : base(IntPtr.Zero, true) { this.free = free; SetHandle(value); }
    public override bool IsInvalid { get { return handle == IntPtr.Zero; } }
    protected override bool ReleaseHandle() { free(handle); return true; }
    public IntPtr Value { get { return handle; } }
}

static class Draw
{
    // Dense pictures of bytes, whose array is pinned while they are used.
    static Images Pictures(int n, int height, int width, int channels, GCHandle bytes)
    {
        return new Images { StructSize = (uint)Marshal.SizeOf(typeof(Images)), Dtype = 4 /* CM_U8 */, N = (UIntPtr)(ulong)n,
                            Channels = channels, Height = height, Width = width, Layout = 1 /* CM_LAYOUT_INTERLEAVED */,
                            Data = bytes.AddrOfPinnedObject() };
    }

    static void Run(string path, string page)
    {
        const int n = 100, columns = 10;
        IntPtr made;
        Consistency.Check(Consistency.cm_model_load(IntPtr.Zero, path, IntPtr.Zero, out made));
        using (var model = new Handle(made, Consistency.cm_model_free))
        {
            Consistency.Check(Consistency.cm_sampler_create(model.Value, IntPtr.Zero, out made));
            using (var sampler = new Handle(made, Consistency.cm_sampler_free))
            {
                var info = new ModelInfo { StructSize = (uint)Marshal.SizeOf(typeof(ModelInfo)) };
                Consistency.Check(Consistency.cm_model_info_get(model.Value, ref info));
                var labels = new int[n];
                for (int i = 0; i < n; i++) labels[i] = i / columns % Math.Max(info.NumClasses, 1);
                var pins = new[] { GCHandle.Alloc(labels, GCHandleType.Pinned),
                                   GCHandle.Alloc(new byte[n * info.Height * info.Width * info.Channels], GCHandleType.Pinned) };
                var condition = GCHandle.Alloc(new Condition { StructSize = (uint)Marshal.SizeOf(typeof(Condition)),
                                                               Labels = pins[0].AddrOfPinnedObject() }, GCHandleType.Pinned);
                var options = new SampleOptions { StructSize = (uint)Marshal.SizeOf(typeof(SampleOptions)), Seed = 1,
                                                  Condition = info.NumClasses > 0 ? condition.AddrOfPinnedObject() : IntPtr.Zero };
                var images = Pictures(n, info.Height, info.Width, info.Channels, pins[1]);
                Consistency.Check(Consistency.cm_sampler_run_images(sampler.Value, ref options, ref images));

                int height, width;
                Consistency.Check(Consistency.cm_image_grid_size(ref images, columns, 2, out height, out width));
                var paper = GCHandle.Alloc(new byte[height * width * info.Channels], GCHandleType.Pinned);
                var sheet = Pictures(1, height, width, info.Channels, paper);
                Consistency.Check(Consistency.cm_image_grid(ref images, columns, 2, 128, ref sheet));
                Consistency.Check(Consistency.cm_image_write(IntPtr.Zero, page, ref sheet, IntPtr.Zero));
                foreach (var pin in new[] { pins[0], pins[1], condition, paper }) pin.Free();
            }
        }
    }

    static int Main(string[] given)
    {
        if (given.Length != 2)
        {
            Console.Error.WriteLine("usage: Draw.exe MODEL.safetensors PAGE.png");
            return 2;
        }
        try
        {
            Run(given[0], given[1]);
            return 0;
        }
        catch (Exception e)
        {
            Console.Error.WriteLine("Draw: " + e.Message);
            return 1;
        }
    }
}
